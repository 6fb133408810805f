"""Which files to blur, and where each result goes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceblur.errors import InputError
from faceblur.image_formats import readable_suffixes

Kind = Literal["image", "video"]
MARK = "_blurred"
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"}
)


@dataclass(frozen=True)
class Job:
    """One file to blur.

    Attributes:
        source: What to read.
        output: Where the result goes; never the source.
        kind: How to read it.
        root: The folder that was searched for it; None where it was named itself.
        tree: The folder in which results of this run are noted, so that a later run finds them
            finished; None for a single file.
    """

    source: Path
    output: Path
    kind: Kind
    root: Path | None = None
    tree: Path | None = None

    @property
    def source_name(self) -> str:
        """The source, relative to the folder that was searched, with forward slashes."""
        return _relative(self.source, self.root)

    @property
    def output_name(self) -> str:
        """The result, relative to the folder that it is noted in, with forward slashes."""
        return _relative(self.output, self.tree)


def plan(inputs: Sequence[str], output: Path | None) -> list[Job]:
    """Find the files that are meant and name their results.

    Args:
        inputs: Files, directories (searched recursively) and glob patterns.
        output: For one file the result's name or a directory; for several a directory. None puts
            `photo_blurred.jpg` beside `photo.jpg`, and those of a directory into
            `directory_blurred`, in the same tree.

    Raises:
        InputError: Nothing is there, or two results would have the same name.
    """
    found = [item for text in inputs for item in _expand(text)]
    paths = {item.path for item in found}
    # A second run must not blur the results of the first.
    found = [item for item in found if not (item.searched and _is_result(item, paths, output))]
    if not found:
        raise InputError(f"{inputs[0]} holds nothing but results of earlier runs")
    single = len(found) == 1 and not found[0].searched
    jobs = [_job(item, output, single=single) for item in found]
    _check_distinct(jobs)
    return jobs


@dataclass(frozen=True)
class _Found:
    path: Path
    root: Path | None = None
    searched: bool = False


def _expand(text: str) -> list[_Found]:
    path = Path(text)
    if path.is_dir():
        found = [_Found(p, path, True) for p in sorted(path.rglob("*")) if _is_media(p)]
        if not found:
            raise InputError(f"{text} holds no pictures or videos; give a folder that does")
        return found
    if path.exists():
        return [_Found(path)]
    if glob.has_magic(text):
        # pathlib's glob refuses absolute patterns.
        matches = sorted(Path(p) for p in glob.glob(text, recursive=True))  # noqa: PTH207
        found = [_Found(p, None, True) for p in matches if _is_media(p)]
        if not found:
            raise InputError(f"{text} matches no pictures or videos; check the pattern")
        return found
    raise InputError(f"{text} does not exist; check the name")


def _job(item: _Found, output: Path | None, *, single: bool) -> Job:
    result = _result(item, output, single=single)
    if single:
        tree = None
    elif output is not None:
        tree = output
    elif item.root is not None:
        tree = _mirror(item.root)
    else:
        tree = result.parent
    return Job(item.path, result, kind_of(item.path), item.root, tree)


def _mirror(root: Path) -> Path:
    """Where the results of a directory go by default."""
    root = root.resolve()
    return root.with_name(root.name + MARK)


def _result(item: _Found, output: Path | None, *, single: bool) -> Path:
    source = item.path
    if output is None:
        if item.root is None:
            return source.with_name(f"{source.stem}{MARK}{source.suffix}")
        return _mirror(item.root) / source.relative_to(item.root)
    if single and not output.is_dir():
        return output
    if output.is_file():
        raise InputError(f"{output} cannot take several files; name a directory with --output")
    return output / (source.relative_to(item.root) if item.root else source.name)


def _check_distinct(jobs: Sequence[Job]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.output.resolve()
        if target == job.source.resolve():
            raise InputError(f"the result would replace {job.source}; name another with --output")
        if target in taken:
            raise InputError(
                f"{taken[target]} and {job.source} would both become {job.output}; blur them in "
                "two runs with different --output"
            )
        taken[target] = job.source


def _is_result(item: _Found, originals: set[Path], output: Path | None) -> bool:
    path = item.path
    if output is not None and item.root is not None and output.is_dir():
        inside = output.resolve()
        if inside != item.root.resolve() and inside in path.resolve().parents:
            return True
    stem = path.stem.removesuffix(MARK)
    return stem != path.stem and path.with_name(stem + path.suffix) in originals


def _relative(path: Path, folder: Path | None) -> str:
    if folder is None or not path.is_relative_to(folder):
        return path.name
    return path.relative_to(folder).as_posix()


def _is_media(path: Path) -> bool:
    known = path.suffix.lower() in readable_suffixes() | VIDEO_SUFFIXES
    return known and not path.name.startswith(".") and path.is_file()


def kind_of(path: Path) -> Kind:
    """Whether a file is taken for a picture or a video, by its suffix."""
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else "image"
