"""Which files to blur, and where each result goes."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from faceblur.batch.search import Search, classify, search
from faceblur.detections import MediaDetections
from faceblur.errors import InputError
from faceblur.image.formats import BY_SUFFIX
from faceblur.redaction import names
from faceblur.video.containers import CONTAINERS
from faceblur.video.kinds import Kind, kind_of, result_name

OnComplete = Callable[[Path, MediaDetections], None]
"""Called with a result that is complete under its temporary name, and with what was found in it,
just before it gets its own name. What it raises is passed on, and the result does not appear."""


MARK = "_blurred"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Job:
    """One file to blur.

    Attributes:
        output: Where the result goes; never the source.
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


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        unchecked: Images and videos beside them that nothing here reads, folders that could
            not be listed.
        others: How many files there are beside them that are neither.
    """

    jobs: list[Job]
    unchecked: list[Path]
    others: int = 0


def plan(inputs: Sequence[str], output: Path | None) -> list[Job]:
    """The jobs of `survey`."""
    return survey(inputs, output).jobs


def survey(inputs: Sequence[str], output: Path | None, *, into_folder: bool = False) -> Plan:
    """Find the files that are meant, name their results, and list what is left out.

    Args:
        inputs: Files, directories (searched recursively) and glob patterns.
        output: For one file the result's name or a directory; for several a directory. None puts
            `photo_blurred.jpg` beside `photo.jpg`, and those of a directory into
            `directory_blurred`, in the same tree. What cannot be written under its own suffix
            gets another behind it.
        into_folder: The output is a directory, which need not exist.

    Raises:
        InputError: Nothing is there, or two results would have the same name.
    """
    _check_here()
    if output is not None:
        _check_name(str(output), "the result")
    expanded = [_expand(text) for text in inputs]
    found = [item for part in expanded for item in part.found]
    paths = {item.path for item in found}
    # A second run must not blur the results of the first.
    found = [item for item in found if not (item.searched and _is_result(item, paths, output))]
    if not found:
        raise InputError(f"{inputs[0]} holds nothing but results of earlier runs")
    single = len(found) == 1 and not found[0].searched
    jobs = [_job(item, output, single=single and not into_folder) for item in found]
    _check_distinct(jobs)
    if single:
        _check_kinds(jobs[0])
    unchecked = [path for part in expanded for path in part.unchecked]
    return Plan(jobs, unchecked, sum(part.others for part in expanded))


@dataclass(frozen=True)
class _Found:
    path: Path
    kind: Kind
    root: Path | None = None
    searched: bool = False


@dataclass(frozen=True)
class _Part:
    found: list[_Found]
    unchecked: list[Path] = field(default_factory=list)
    others: int = 0


def _expand(text: str) -> _Part:
    path = Path(text)
    if path.is_dir():
        return _part(search(path), path, f"{text} holds no images or videos", "give a folder")
    if path.exists():
        return _Part([_Found(path, kind_of(path))])
    _check_name(text, "a file")
    if glob.has_magic(text):
        # pathlib's glob refuses absolute patterns.
        matches = sorted(Path(p) for p in glob.glob(text, recursive=True))  # noqa: PTH207
        files = [match for match in matches if not match.is_dir()]
        folders = [] if "**" in text else [match for match in matches if match.is_dir()]
        result = classify(files)
        result.unchecked.extend(folders)
        return _part(result, None, f"{text} matches no images or videos", "check the pattern")
    raise InputError(f"{text} does not exist; check the name")


def _part(found: Search, root: Path | None, nothing: str, hint: str) -> _Part:
    if not found.media:
        left = f"; not checked: {names(list(map(str, found.unchecked)))}"
        hint = f"{hint} that does" if root is not None else hint
        raise InputError(f"{nothing} that can be read{left if found.unchecked else ''}; {hint}")
    items = [_Found(path, kind, root, True) for path, kind in found.media.items()]
    return _Part(items, found.unchecked, found.others)


def _check_here() -> None:
    """Refuse to work in a folder that was removed: no name can be found from there."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError("the current folder was removed: change to another one") from error


def _check_name(text: str, what: str) -> None:
    """Refuse what looks like the name of a file and is none."""
    if text == "-":
        raise InputError(
            f"- does not stand for {what}: standard input and output cannot be used, for a file "
            "is gone through more than once; name files"
        )
    # A path that was taken apart has one slash where an address has two.
    if _ADDRESS.match(text) or (what == "the result" and re.match(r"[a-z0-9+.-]{2,}:/", text)):
        if text.startswith("file:"):
            path = unquote(urlsplit(text).path)
            raise InputError(f"{text} is an address: give the path itself, {path}")
        hint = (
            "write to a file, and send that"
            if what == "the result"
            else ("download it and give the file; for live sources there is: faceblur camera")
        )
        raise InputError(f"{text} is an address, not a file: {hint}")


def _check_kinds(job: Job) -> None:
    """Refuse to make a video of an animation, or the reverse, and say what can be done."""
    suffix = job.output.suffix.lower()
    if job.kind == "image" and suffix in CONTAINERS:
        raise InputError(
            f"{job.source} is an image, and {suffix} holds videos: name the result .gif, .webp, "
            f".png or .jpg; what is masked then becomes a video with: ffmpeg -i masked.gif "
            f"{job.output.name}"
        )
    if job.kind == "video" and suffix in BY_SUFFIX:
        raise InputError(
            f"{job.source} is a video, and {suffix} holds images: name the result .mp4; what is "
            f"masked then becomes an animation with: ffmpeg -i masked.mp4 {job.output.name}"
        )


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
    return Job(item.path, result, item.kind, item.root, tree)


def _mirror(root: Path) -> Path:
    """Where the results of a directory go by default."""
    root = root.resolve()
    return root.with_name(root.name + MARK)


def _result(item: _Found, output: Path | None, *, single: bool) -> Path:
    if output is not None and single and not output.is_dir():
        return output
    if output is not None and output.is_file():
        raise InputError(f"{output} cannot take several files; name a directory with --output")
    named = item.path.with_name(result_name(item.path, item.kind))
    if output is None:
        if item.root is None:
            return named.with_name(f"{named.stem}{MARK}{named.suffix}")
        return _mirror(item.root) / named.relative_to(item.root)
    return output / (named.relative_to(item.root) if item.root else named.name)


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
    return stem != path.stem and not originals.isdisjoint(
        (path.with_name(stem + path.suffix), path.with_name(stem))
    )


def _relative(path: Path, folder: Path | None) -> str:
    if folder is None or not path.is_relative_to(folder):
        return path.name
    return path.relative_to(folder).as_posix()


def completion(
    on_complete: OnComplete | None, report: MediaDetections
) -> Callable[[Path], None] | None:
    """What `faceblur.files.atomic_path` calls before it commits a result."""
    if on_complete is None:
        return None
    return lambda temporary: on_complete(temporary, report)
