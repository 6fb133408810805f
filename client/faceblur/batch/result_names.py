"""Where the result of each file goes, on this machine or in a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faceblur.batch.found import Found, Place
from faceblur.errors import InputError
from faceblur.image.formats import BY_SUFFIX
from faceblur.stores.address import Address
from faceblur.stores.fsspec_store import store_of
from faceblur.video.containers import CONTAINERS
from faceblur.video.kinds import Kind

MARK: Final = "_blurred"


@dataclass(frozen=True)
class Target:
    """What was said of the results: a folder, the name of one file, or nothing.

    Attributes:
        place: None puts results beside the originals.
        is_folder: Whether it is one, or is to become one.
    """

    place: Place | None
    is_folder: bool

    def of(self, item: Found, *, single: bool) -> Place:
        """The result of a file.

        Raises:
            InputError: There is no name for it.
        """
        if self.place is None:
            return _beside(item)
        if single and not self.is_folder:
            return self.place
        if isinstance(self.place, Path) and self.place.is_file():
            raise InputError(
                f"{self.place} cannot take several files; name a directory with --output"
            )
        name = item.path.with_name(item.named)
        return self.place / (_relative(name, item.root) if item.root else item.named)

    def tree_of(self, item: Found, result: Place, *, single: bool) -> Place | None:
        """The folder in which it is noted that a result is finished; None for a single file."""
        if single:
            return None
        if self.place is not None:
            return self.place
        return result.parent if item.root is None else _mirror(item.root)

    def holds(self, item: Found, originals: set[Place]) -> bool:
        """Whether a file that was found counts as the result of an earlier run."""
        return self.encloses(item) or _is_beside(item.path, originals)

    def encloses(self, item: Found) -> bool:
        """Whether a file lies in the folder for results, which is inside the searched one."""
        path = item.path
        if self.place is None or item.root is None or not self.is_folder:
            return False
        if isinstance(path, Address):
            inside = isinstance(self.place, Address) and not is_same(self.place, item.root)
            return inside and path.is_inside(self.place)  # type: ignore[arg-type]
        if isinstance(self.place, Path) and isinstance(item.root, Path):
            folder = self.place.resolve()
            return folder != item.root.resolve() and folder in path.resolve().parents
        return False


def target_of(output: Place | None, *, into_folder: bool) -> Target:
    """Find out what an output is; for a store, whether anything lies below it."""
    if isinstance(output, Address):
        if output.is_read_only:
            raise InputError(f"{output} can only be read: give a folder or a bucket with --output")
        if output.path and output.is_odd:
            raise InputError(f"{output} is no name for results: give it without //, . and ..")
        return Target(output, into_folder or not output.path or store_of(output).is_folder(output))
    return Target(output, into_folder or (output is not None and output.is_dir()))


def check_distinct(pairs: Sequence[tuple[Place, Place]]) -> None:
    """Check sources and their results.

    Raises:
        InputError: Two results would have one name, or one that of a source.
    """
    taken: dict[Place, Place] = {}
    sources = {_whole(source) for source, _ in pairs}
    for source, output in pairs:
        target = _whole(output)
        if is_same(output, source):
            raise InputError(f"the result would replace {source}; name another with --output")
        if target in sources:
            raise InputError(
                f"the result of {source} would replace {output}, which is to be masked too; name "
                "another place with --output"
            )
        if target in taken:
            raise InputError(
                f"{taken[target]} and {source} would both become {output}; blur them in "
                "two runs with different --output"
            )
        taken[target] = source


def taken_endings(pairs: Sequence[tuple[Place, Place]]) -> dict[Place, tuple[tuple[str, str], ...]]:
    """What must not be added to the names of results, of sources and their results.

    Returns:
        For results, the endings that would make another file's name of theirs, each with that
        file for a sentence.
    """
    outputs = {_whole(output): output for _, output in pairs}
    taken: dict[Place, tuple[tuple[str, str], ...]] = {}
    for source, output in pairs:
        for place, told in ((output, f"that of {source}"), (source, str(source))):
            whole = _whole(place)
            if (shorter := outputs.get(whole.with_name(whole.stem))) is not None:
                taken[shorter] = (*taken.get(shorter, ()), (whole.suffix, told))
    return taken


def is_same(place: Place, other: Place) -> bool:
    """Whether two are one file or folder, or may be."""
    if isinstance(place, Address) and isinstance(other, Address):
        return place.is_same(other)
    return _whole(place) == _whole(other)


def check_apart(place: Place, results: Place) -> None:
    """Refuse to search a folder that lies in the one where the results go.

    Raises:
        InputError: What is found could not be told from what is finished.
    """
    if isinstance(place, Address):
        inside = isinstance(results, Address) and place.is_inside(results)
    else:
        inside = isinstance(results, Path) and results.resolve() in place.resolve().parents
    if inside:
        raise InputError(
            f"{place} lies in {results}, where the results would go; name a folder of their own "
            "with --output"
        )


def check_kinds(source: Place, output: Place, kind: Kind) -> None:
    """Refuse to make a video of an animation, or the reverse, and say what can be done.

    Raises:
        InputError: The output's suffix is of the other kind.
    """
    suffix = output.suffix.lower()
    if kind == "image" and suffix in CONTAINERS:
        raise InputError(
            f"{source} is an image, and {suffix} holds videos: name the result .gif, .webp, "
            f".png or .jpg; what is masked then becomes a video with: ffmpeg -i masked.gif "
            f"{output.name}"
        )
    if kind == "video" and suffix in BY_SUFFIX:
        raise InputError(
            f"{source} is a video, and {suffix} holds images: name the result .mp4; what is "
            f"masked then becomes an animation with: ffmpeg -i masked.mp4 {output.name}"
        )


def name_in(place: Place, folder: Place | None) -> str:
    """A file's name, relative to a folder that it is in, with forward slashes."""
    if folder is None:
        return place.name
    try:
        return _relative(place, folder)
    except ValueError:
        return place.name


def _is_beside(path: Place, originals: set[Place]) -> bool:
    """Whether a file is called like a result that lies beside its original."""
    # In a store, the result of what is not what its name says gets a second suffix.
    for name in (path, path.with_name(path.stem)):
        stem = name.stem.removesuffix(MARK)
        if stem != name.stem and not originals.isdisjoint(
            (name.with_name(stem + name.suffix), name.with_name(stem))
        ):
            return True
    return False


def _beside(item: Found) -> Place:
    if isinstance(item.path, Address) and item.path.is_read_only:
        raise InputError(f"{item.path} can only be read: say with --output where the result goes")
    name = item.path.with_name(item.named)
    if item.root is None:
        return name.with_name(f"{name.stem}{MARK}{name.suffix}")
    return _mirror(item.root) / _relative(name, item.root)


def _mirror(root: Place) -> Place:
    """Where the results of a directory go by default."""
    if isinstance(root, Address):
        if not root.path:
            raise InputError(f"{root} is a whole bucket: say with --output where the results go")
        return root.with_name(root.name + MARK)
    root = root.resolve()
    return root.with_name(root.name + MARK)


def _relative(place: Place, folder: Place) -> str:
    if isinstance(place, Address):
        if not isinstance(folder, Address):
            raise ValueError(f"{place} is not in {folder}")
        return place.relative_to(folder).as_posix()
    if isinstance(folder, Address):
        raise ValueError(f"{place} is not in {folder}")
    return place.relative_to(folder).as_posix()


def _whole(place: Place) -> Place:
    return place if isinstance(place, Address) else place.resolve()
