"""A file has its final name only when it is complete."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from faceblur import files as atomic
from faceblur.errors import InputError, ModelError, OutputError
from faceblur.files import atomic_path, file_sha256, leftovers


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_appears_only_when_complete(tmp_path: Path) -> None:
    final = tmp_path / "photo.final.jpg"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        assert not final.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".jpg"
        assert temporary.name.startswith(".photo.final.partial-")
        temporary.write_bytes(b"complete")
    assert files(tmp_path) == ["photo.final.jpg"]
    assert final.read_bytes() == b"complete"


def test_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("interruption", [InputError("bad frame"), KeyboardInterrupt()])
def test_leaves_nothing_and_keeps_the_old_file(tmp_path: Path, interruption: BaseException) -> None:
    def write_half(final: Path) -> None:
        with atomic_path(final) as temporary:
            temporary.write_bytes(b"half")
            raise interruption

    final = tmp_path / "clip.mp4"
    final.write_bytes(b"older")
    with pytest.raises(type(interruption)):
        write_half(final)
    assert files(tmp_path) == ["clip.mp4"]
    assert final.read_bytes() == b"older"


def test_an_empty_result_is_no_result(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="nothing was written"),
        atomic_path(tmp_path / "empty.json"),
    ):
        pass
    assert files(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    final = tmp_path / "a.png"
    with atomic_path(final) as first:
        first.write_bytes(b"first")
        with atomic_path(final) as second:
            second.write_bytes(b"second")
    assert final.read_bytes() == b"first"
    assert files(tmp_path) == ["a.png"]


def test_a_long_name_is_as_good_as_a_short_one(tmp_path: Path) -> None:
    final = tmp_path / ("ä" * 125 + ".jpeg")
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"x")
    assert files(tmp_path) == [final.name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/out.jpg", "the folder .*missing does not exist"),
        ("file/out.jpg", "file is not a folder"),
        ("folder", "it is a folder, give the name of a file"),
        ("pipe", "it is not an ordinary file"),
        ("x" * 300 + ".jpg", "the name is too long"),
    ],
)
def test_says_why_it_cannot_write_before_any_work(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = files(tmp_path)
    with pytest.raises(OutputError, match=reason), atomic_path(tmp_path / name):
        pytest.fail("the block must not run")
    assert files(tmp_path) == before


def test_a_place_the_system_protects(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"), atomic_path(Path("/proc/out.jpg")):
        pytest.fail("the block must not run")


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with (
            pytest.raises(OutputError, match=r"big\.mp4: the file would grow beyond"),
            atomic_path(tmp_path / "big.mp4") as temporary,
        ):
            temporary.write_bytes(bytes(8192))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert files(tmp_path) == []


def test_killed_without_warning_leaves_no_final_name(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from faceblur.files import atomic_path

        with atomic_path(Path(sys.argv[1])) as temporary:
            temporary.write_bytes(b"half")
            print("writing", flush=True)
            time.sleep(600)
        """
    )
    final = tmp_path / "out.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(final)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        (theirs,) = files(tmp_path)
        _write_anew(tmp_path / "first.mp4")
        assert files(tmp_path) == [theirs, "first.mp4"], "its process lives"
        process.kill()
        process.wait(timeout=60)
    assert not final.exists()
    assert files(tmp_path) == [theirs, "first.mp4"]
    mine = tmp_path / ".notes.partial-1"
    mine.touch()
    _write_anew(tmp_path / "second.mp4")
    assert files(tmp_path) == [mine.name, "first.mp4", "second.mp4"]


def _write_anew(final: Path) -> None:
    """As a process does that has not written there yet."""
    atomic._swept.clear()
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"x")
        assert atomic.remove_abandoned(temporary) is False


def test_what_cannot_be_claimed_is_written_and_never_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    monkeypatch.setattr(atomic.fcntl, "fcntl", refuse)
    left = tmp_path / ".a.partial-0123abcd.jpg"
    left.touch()
    atomic._swept.clear()
    with atomic_path(tmp_path / "a.jpg") as temporary:
        temporary.write_bytes(b"x")
    assert files(tmp_path) == [left.name, "a.jpg"]


def test_a_sweep_in_the_moment_before_the_claim_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, swept = atomic.claim, []

    def late(fd: int) -> bool | None:
        monkeypatch.undo()  # The sweep claims too.
        swept.extend(path for path in tmp_path.iterdir() if atomic.remove_abandoned(path))
        return claim(fd)

    monkeypatch.setattr(atomic, "claim", late)
    with atomic_path(tmp_path / "a.jpg") as temporary:
        assert len(swept) == 1
        assert temporary.exists()
        temporary.write_bytes(b"x")
    assert files(tmp_path) == ["a.jpg"]


def test_what_happens_before_the_name_can_still_refuse(tmp_path: Path) -> None:
    def look(temporary: Path) -> None:
        seen.append((temporary.read_bytes(), final.exists()))

    def refuse(temporary: Path) -> None:
        raise InputError("not this one")

    seen: list[tuple[bytes, bool]] = []
    final = tmp_path / "photo.jpg"
    with atomic_path(final, before_commit=look) as temporary:
        temporary.write_bytes(b"complete")
    assert seen == [(b"complete", False)]
    with (
        pytest.raises(InputError, match="not this"),
        atomic_path(tmp_path / "other.jpg", before_commit=refuse) as temporary,
    ):
        temporary.write_bytes(b"complete")
    assert files(tmp_path) == ["photo.jpg"]


def test_leftovers_are_those_of_the_named_results(tmp_path: Path) -> None:
    mine = {".a.b.partial-0123abcd.jpg", ".plain.partial-0123abcd"}
    for name in (*mine, ".c.partial-0123abcd.jpg", ".a.b.partial-x.jpg", "a.b.jpg"):
        (tmp_path / name).touch()
    found = leftovers([tmp_path / "a.b.jpg", tmp_path / "plain", tmp_path / "none" / "c.jpg"])
    assert {path.name for path in found} == mine


def test_a_file_that_cannot_be_hashed_is_an_error_of_the_kind_that_was_asked_for(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"cannot read .*gone"):
        file_sha256(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"cannot read .*gone"):
        file_sha256(tmp_path / "gone", refusal=ModelError)
    (tmp_path / "there").write_bytes(b"abc")
    assert file_sha256(tmp_path / "there").startswith("ba7816bf8f01cfea")
