"""Files in Google Cloud Storage, as an emulator is: mirrored, resumed, and none half done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from buckets import Blur
from faulty_door import FaultyDoor
from gcp_storage_emulator.server import create_server

from faceblur.errors import FaceblurError, OutputError
from faceblur.stores import connections, parts
from faceblur.stores.address import parse_address
from faceblur.stores.fsspec_store import store_of

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "before.jpg"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyDoor]:
    """A door before the emulator, in which there is an empty bucket called box."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="box")
    server.start()
    with FaultyDoor(server._api._httpd.socket.getsockname()[1]) as door:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{door.port}")
        connections.connect.cache_clear()
        yield door
    connections.connect.cache_clear()
    server.stop()


def test_a_bucket_is_mirrored_and_resumed(blur: Blur, door: FaultyDoor, tmp_path: Path) -> None:
    for name in ("gs://box/in/a.jpg", "gs://box/in/sub/b.jpg"):
        address = parse_address(name)
        assert address is not None
        store_of(address).commit(PHOTO, address)
    line = ("gs://box/in/", "-o", "gs://box/out/")
    door.first(1, "deny", "POST", "/upload/")
    first = blur(*line)
    assert (first.exit_code, first.stderr.count("\n")) == (1, 1)
    assert "writing to gs://box/out/" in first.stderr
    assert "1 file skipped" in blur(*line).stdout
    door.seen.clear()
    assert "2 files skipped" in blur(*line).stdout
    assert not [path for _, path in door.seen if "alt=media" in path and ".faceblur" not in path]
    assert blur("gs://box/out/sub/b.jpg", "-o", tmp_path / "b.jpg").exit_code == 0
    for arguments, code, told in (
        (("gs://box/no.jpg", "-o", tmp_path / "c.jpg"), 3, "does not exist"),
        (("gs://box/in/a.jpg", "-o", "gs://no-such-box/a.jpg"), 4, "make it first"),
    ):
        result = blur(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert told in result.stderr


def test_a_large_file_appears_when_all_of_it_is_there(door: FaultyDoor, tmp_path: Path) -> None:
    there = parse_address("gs://box/large.mp4")
    assert there is not None
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(parts.PART_BYTES + 1))
    sending = threading.Event()

    def hold(method: str, path: str) -> str:
        if "upload_id" not in path:
            return "pass"
        sending.set()
        return "hold"

    def going() -> None:
        if sending.is_set():
            raise FaceblurError("interrupted")

    door.judge = hold
    store = store_of(there)
    with pytest.raises(FaceblurError, match="interrupted"):
        store.commit(large, there, going=going)
    door.judge = lambda method, path: "pass"
    assert store.find(there) is None
    assert store.commit(large, there).size == large.stat().st_size
    # The emulator knows no conditions; Google does.
    for size in (1, parts.PART_BYTES + 1):
        door.seen.clear()
        large.write_bytes(b"x" * size)
        store.commit(large, there, replaces=False)
        assert [path for _, path in door.seen if "ifGenerationMatch=0" in path]
        seen = store.find(there)
        assert seen is not None
        assert seen.tag.isdecimal()
        door.seen.clear()
        assert store.commit(large, there, replaces=seen).size == size
        assert [path for _, path in door.seen if f"ifGenerationMatch={seen.tag}" in path]
        door.first(1, "changed", "POST", "ifGenerationMatch")
        large.write_bytes(b"y" * size)
        with pytest.raises(OutputError, match="somebody has changed or deleted gs:"):
            store.commit(large, there, replaces=seen)
