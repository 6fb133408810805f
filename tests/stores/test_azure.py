"""Files in Azure Blob Storage, as Azurite is: mirrored, resumed, and none half done."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from buckets import Blur
from faulty_door import FaultyDoor

from faceblur.errors import FaceblurError, OutputError
from faceblur.stores import connections
from faceblur.stores.address import parse_address
from faceblur.stores.fsspec_store import store_of

# Azurite's only login, which is public.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
LOGIN = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    f"AccountKey={KEY};BlobEndpoint=http://127.0.0.1:%d/devstoreaccount1;"
)
OPTIONS = (
    *("--blobHost", "127.0.0.1", "--blobPort", "0"),
    *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
)
PHOTO = Path(__file__).parents[2] / "docs" / "images" / "before.jpg"


@pytest.fixture(scope="module")
def azurite() -> Iterator[int]:
    """The port of a server that is as Azure's."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip('needs Azurite: npm install -g --prefix "$VIRTUAL_ENV" azurite@3.35.0')
    server = subprocess.Popen(
        [program, *OPTIONS],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if match := re.search(r"listens on http://127\.0\.0\.1:(\d+)", line):
            break
    else:
        raise AssertionError("Azurite does not listen")
    # It says more, and waits where nobody reads it.
    threading.Thread(target=server.stdout.read, daemon=True).start()
    yield int(match[1])
    server.terminate()
    server.wait(60)


@pytest.fixture
def container(azurite: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyDoor, Any]]:
    """A door before the server, and an empty container called box, seen past the door."""
    with FaultyDoor(azurite) as door:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", LOGIN % door.port)
        connections.connect.cache_clear()
        client = BlobServiceClient.from_connection_string(LOGIN % azurite)
        box = client.create_container("box")
        yield door, box
        box.delete_container()
        client.close()
    connections.connect.cache_clear()


def names(box: Any) -> list[str]:
    """All blobs but notes, those that are not committed yet among them."""
    found = [each.name for each in box.list_blobs(include=["uncommittedblobs"])]
    return [name for name in found if "/.faceblur/" not in name]


def test_a_container_is_mirrored_and_resumed(
    blur: Blur, container: tuple[FaultyDoor, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, box = container
    for name in ("in/a.jpg", "in/sub/b.dat"):
        box.upload_blob(name, PHOTO.read_bytes())
    box.upload_blob("in/odd#name.jpg", PHOTO.read_bytes())
    for line in (
        ("az://box/in/", "-o", "az://box/out/"),
        ("abfs://box@devstoreaccount1.dfs.core.windows.net/in/", "-o", tmp_path / "out"),
    ):
        first = blur(*line)
        assert first.exit_code == 1
        assert re.fullmatch(r"faceblur: 1 file was not checked: \S+odd#name\.jpg\n", first.stderr)
        door.seen.clear()
        assert "2 files skipped" in blur(*line).stdout
        # Of one whose name does not say what it is, the beginning is read.
        assert {path[-5:] for method, path in door.seen if method == "GET"} & {"a.jpg"} == set()
    assert [name for name in names(box) if name.startswith("out/")] == [
        *("out/a.jpg", "out/sub/b.dat.jpg")
    ]
    assert (tmp_path / "out" / "a.jpg").read_bytes() == box.download_blob("out/a.jpg").readall()

    for arguments, code, told in (
        (("az://box/no.jpg", "-o", tmp_path / "b.jpg"), 3, "does not exist"),
        (("az://no-such-box/", "-o", tmp_path / "b"), 3, "does not exist"),
        (("az://box/in/a.jpg", "-o", "az://no-such-box/a.jpg"), 4, "make it first"),
    ):
        result = blur(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert told in result.stderr
        assert KEY not in result.output
    door.first(99, "deny", "PUT", "/out/new")
    result = blur("az://box/in/a.jpg", "-o", "az://box/out/new.jpg")
    assert (result.exit_code, "is denied" in result.stderr) == (4, True)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    connections.connect.cache_clear()
    result = blur("az://box/in/", "-o", tmp_path / "c")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "there are no credentials for az://box/in: log in with az login" in result.stderr


def test_blocks_become_a_file_when_all_of_them_are_there(
    container: tuple[FaultyDoor, Any], tmp_path: Path
) -> None:
    door, box = container
    there = parse_address("az://box/large.mp4")
    assert there is not None
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(3 << 20))
    store: Any = store_of(there)
    config = store._fs.service_client._config
    config.max_single_put_size = config.max_block_size = 1 << 20
    door.first(1, "deny", "PUT", "comp=block&")
    with pytest.raises(FaceblurError, match="is denied"):
        store.commit(large, there)
    assert [each.name for each in box.list_blobs()] == []
    door.judge = lambda method, path: "pass"
    assert store.commit(large, there, replaces=False).size == 3 << 20
    # It is there as it should be, maybe from a try before whose answer was lost.
    assert store.commit(large, there, replaces=False).size == 3 << 20
    for size in (1, 3 << 20):
        large.write_bytes(b"x" * size)
        with pytest.raises(OutputError, match="already, which is not replaced"):
            store.commit(large, there, replaces=False)
    for size in (1, 3 << 20):
        seen = store.find(there)
        large.write_bytes(b"y" * size)
        assert store.commit(large, there, replaces=seen).size == size
        box.upload_blob(there.path, b"theirs", overwrite=True)
        large.write_bytes(b"z" * size)
        for left in (b"theirs", None):
            with pytest.raises(OutputError, match="somebody has changed or deleted az:"):
                store.commit(large, there, replaces=seen)
            assert store.read(there) == left
            if left is not None:
                box.delete_blob(there.path)
        store.commit(large, there)
    assert [path for _, path in door.seen if "comp=blocklist" in path]
    assert names(box) == ["large.mp4"]
