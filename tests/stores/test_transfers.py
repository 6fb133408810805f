"""Large files in parts, stores that can rename, https, and what each leaves when it fails."""

from __future__ import annotations

import pickle
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest
import trustme
from buckets import Blur, Bucket
from faulty_door import FaultyDoor
from media import moving_face_video

from faceblur.batch.jobs import StoredJob, survey
from faceblur.batch.transfers import Transfers
from faceblur.errors import FaceblurError, InputError, OutputError
from faceblur.stores import connections, faults, fsspec_store, parts
from faceblur.stores.address import Address, parse_address
from faceblur.stores.fsspec_store import store_of

SIGNATURE = "c2lnbmF0dXJlLW9mLWEtbGluaw"


def address(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


class TestParts:
    @pytest.fixture
    def large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        # The smallest that S3 takes.
        monkeypatch.setattr(parts, "PART_BYTES", 5 << 20)
        path = tmp_path / "large.mp4"
        with path.open("wb") as file:
            file.truncate(2 * parts.PART_BYTES + 1)
        return path

    def test_a_large_file_is_committed_when_all_its_parts_are_there(
        self, door: FaultyDoor, bucket: Bucket, large: Path, tmp_path: Path
    ) -> None:
        there = address(f"s3://{bucket.name}/a.mp4")
        # A run that was killed has left a part.
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key="a.mp4")
        other = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="a.mp4.txt")
        door.first(1, "drop", "PUT", "partNumber=2")
        store = pickle.loads(pickle.dumps(store_of(there)))
        entry = store.commit(large, there)
        assert (entry.size, entry.address) == (large.stat().st_size, there)
        assert bucket.unfinished() == 1
        bucket.client.abort_multipart_upload(
            Bucket=bucket.name, Key="a.mp4.txt", UploadId=other["UploadId"]
        )
        with pytest.raises(OutputError, match="already, which is not replaced"):
            store.commit(_filled(tmp_path / "other", large), there, replaces=False)
        door.first(1, "cut", "GET", "a.mp4")
        assert store.fetch(entry, tmp_path / "back") == entry
        assert (tmp_path / "back").read_bytes() == large.read_bytes()

    @pytest.mark.parametrize("how", ["refused", "interrupted"])
    def test_one_that_is_broken_off_leaves_no_part(
        self, door: FaultyDoor, bucket: Bucket, large: Path, how: str
    ) -> None:
        there = address(f"s3://{bucket.name}/a.mp4")
        uploading = threading.Event()

        def judge(method: str, path: str) -> str:
            if "partNumber=2" in path:
                uploading.set()
                return "deny" if how == "refused" else "hold"
            return "pass"

        def going() -> None:
            if how == "interrupted" and uploading.is_set():
                raise FaceblurError("interrupted")

        door.judge = judge
        with pytest.raises(FaceblurError, match="is denied" if how == "refused" else how):
            store_of(there).commit(large, there, going=going)
        assert (bucket.keys(), bucket.unfinished()) == ([], 0)

    def test_a_large_file_takes_the_place_of_that_which_was_seen_and_of_no_other(
        self, door: FaultyDoor, bucket: Bucket, large: Path
    ) -> None:
        there = address(f"s3://{bucket.name}/a.mp4")
        store = store_of(there)
        bucket.put("a.mp4", b"ours")
        seen = store.find(there)

        def judge(method: str, path: str) -> str:
            """As S3 does; the server here compares for small files alone."""
            if method != "POST" or "uploadId=" not in path:
                return "pass"
            there = bucket.client.head_object(Bucket=bucket.name, Key="a.mp4")["ETag"]
            return "pass" if door.condition == there else "changed"

        door.judge = judge
        bucket.put("a.mp4", b"theirs")
        assert seen is not None
        with pytest.raises(OutputError, match="somebody has changed or deleted s3:"):
            store.commit(large, there, replaces=seen)
        assert (bucket.get("a.mp4"), bucket.unfinished()) == (b"theirs", 0)
        seen = store.find(there)
        assert seen is not None
        assert store.commit(large, there, replaces=seen).size == large.stat().st_size


def test_a_store_that_takes_no_condition_replaces_nothing(
    door: FaultyDoor, bucket: Bucket, tmp_path: Path
) -> None:
    there = address(f"s3://{bucket.name}/a.jpg")
    bucket.put("a.jpg", b"ours")
    seen = store_of(there).find(there)
    assert seen is not None
    (tmp_path / "a.jpg").write_bytes(b"new")

    def judge(method: str, path: str) -> str:
        return "unknown" if method == "PUT" else "pass"

    door.judge = judge
    with pytest.raises(OutputError, match="cannot tell whether somebody has changed it"):
        store_of(there).commit(tmp_path / "a.jpg", there, replaces=seen)
    assert bucket.get("a.jpg") == b"ours"


def _filled(path: Path, like: Path) -> Path:
    """Another file of the same size."""
    path.write_bytes(b"x" * like.stat().st_size)
    return path


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    door: FaultyDoor, bucket: Bucket, tmp_path: Path
) -> None:
    there = address(f"s3://{bucket.name}/a.jpg")
    bucket.put("a.jpg", b"old")
    store = store_of(there)
    listed = store.find(there)
    assert listed is not None
    bucket.put("a.jpg", b"new content")
    entry = store.fetch(listed, tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == b"new content"
    assert entry.version != listed.version
    # One that never holds still is not taken.
    number = iter(range(100))

    def judge(method: str, path: str) -> str:
        if method == "HEAD":
            bucket.put("a.jpg", f"{next(number)}".encode())
        return "pass"

    door.judge = judge
    with pytest.raises(faults.UnreachableError, match="when it is complete"):
        store.fetch(entry, tmp_path / "a.jpg")


def test_where_files_can_be_renamed_they_appear_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = address("memory://shelf/sub/a.mp4")
    store = store_of(there)
    (tmp_path / "a.mp4").write_bytes(b"whole")
    assert store.commit(tmp_path / "a.mp4", there).size == 5
    assert store.commit(tmp_path / "a.mp4", there, replaces=False).size == 5
    (tmp_path / "other.mp4").write_bytes(b"other")
    with pytest.raises(OutputError, match="already, which is not replaced"):
        store.commit(tmp_path / "other.mp4", there, replaces=False)
    with pytest.raises(OutputError, match="already, which is not replaced"):
        store.write(there, b"note", replaces=False)
    assert store.read(there) == b"whole"
    seen = store.find(there)
    assert seen is not None
    store.write(there, b"their file")
    for replaced in ("changed", "deleted"):
        with pytest.raises(OutputError, match="somebody has changed or deleted memory:"):
            store.commit(tmp_path / "other.mp4", there, replaces=seen)
        with pytest.raises(OutputError, match="somebody has changed or deleted memory:"):
            store.write(there, b"note", replaces=seen)
        assert store.read(there) == (b"their file" if replaced == "changed" else None)
        store.remove(there)
    store.commit(tmp_path / "a.mp4", there)
    gone = address("memory://shelf/sub/note")
    store.write(gone, b"note", replaces=False)
    for _ in range(2):
        store.remove(gone)
        assert store.find(gone) is None
    assert [str(each.address) for each in store.list(address("memory://shelf"))] == [str(there)]
    # Marks of a pattern are none in a name.
    odd = address("memory://shelf/odd/a[1]*.mp4")
    assert store.commit(tmp_path / "a.mp4", odd).size == 5
    assert [each.address for each in store.list(odd.parent)] == [odd]
    fs: Any = store._fs  # type: ignore[attr-defined]
    fs.rm_file(fs._strip_protocol(odd.url))
    # Where no tag tells, the time shows that another file of the same size is there.
    listed = store.find(there)
    assert listed is not None
    fs.pipe_file(fs._strip_protocol(there.url), b"WHOLE")
    assert store.find(there) != listed
    assert store.fetch(listed, tmp_path / "b.mp4") == store.find(there)
    fs.pipe_file(fs._strip_protocol(there.url), b"whole")
    names: list[str] = []

    def fail(source: str, target: str, **_: Any) -> None:
        names.extend(fs.find("/shelf"))
        raise PermissionError("no renaming here")

    monkeypatch.setattr(fs, "cp_file", fail)
    (tmp_path / "a.mp4").write_bytes(b"another")
    with pytest.raises(OutputError, match="is denied"):
        store.commit(tmp_path / "a.mp4", there)
    assert len(names) == 2
    assert any("/.a.mp4.partial-" in name for name in names)
    assert fs.find("/shelf") == [fs._strip_protocol(there.url)]
    assert store.read(there) == b"whole"


@pytest.mark.parametrize("other", ["b/photo.jpg.mp4", "a/photo_blurred.jpg.mp4"])
def test_a_file_that_is_no_image_takes_no_name_of_another_file_or_result(
    tmp_path: Path, other: str
) -> None:
    moving_face_video(tmp_path / "clip.mp4", frames=3, width=64, height=48)
    root = address(f"memory://names/{tmp_path.name}")
    files = (root / "a" / "photo.jpg", root / other)
    for file in files:
        store_of(file).write(file, (tmp_path / "clip.mp4").read_bytes())
    into = tmp_path / "out" if other.startswith("b/") else None
    told = "that of " * (into is not None) + str(files[1])
    with Transfers(threading.Event()) as transfers:
        inputs = [f"{root}/a/p*.jpg", f"{root}/{other}"]
        photo, film = survey(inputs, into, into_folder=into is not None).jobs
        assert isinstance(photo, StoredJob)
        assert isinstance(film, StoredJob)
        with transfers.here(film) as visit:
            assert visit.stored == film
        with (
            pytest.raises(InputError, match=f"be called as {re.escape(told)}: rename one"),
            transfers.here(photo),
        ):
            pass
        # Without the other it gets the name; as an earlier result that is not masked again.
        found = survey([f"{root}/a/*"], into, into_folder=into is not None)
        (photo,) = found.jobs
        assert found.earlier == [file for file in files[1:] if into is None]
        assert isinstance(photo, StoredJob)
        with transfers.here(photo) as visit:
            assert visit.job.output.name == f"{photo.output.name}.mp4"


@dataclass
class Site:
    """An https server with some files; those under /secret/ ask for a signature."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path, _, query = self.path.partition("?")
            site.asked.append(self.path)
            content = site.files.get(path)
            if path.startswith("/secret/") and query != f"sig={SIGNATURE}":
                self.send_error(403)
                return
            if path == "/moved.jpg":
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{site.port}/a.jpg")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hash(content)}"')
            self.end_headers()
            if body:
                cut, site.cuts = site.cuts > 0, max(0, site.cuts - 1)
                self.wfile.write(content[: len(content) // 2] if cut else content)

        def log_message(self, *_: Any) -> None:
            pass

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    monkeypatch.setattr(faults, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(fsspec_store, "ATTEMPTS", 3)
    connections.connect.cache_clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()
    connections.connect.cache_clear()


def test_files_behind_https_are_read_and_never_written(
    blur: Blur, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Path(__file__).parents[2].joinpath("docs", "images", "before.jpg").read_bytes()
    site.files = {"/secret/download": photo, "/a.jpg": photo}
    root = f"https://127.0.0.1:{site.port}"
    signed = f"{root}/secret/download?sig={SIGNATURE}"
    site.cuts = 2
    listed = tmp_path / "found.json"
    done = blur(signed, "-o", f"{tmp_path}/out/", "--json", listed, "--audit", tmp_path / "record")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "out" / "download.jpg").is_file()
    texts = [path.read_text() for path in (tmp_path / "record").glob("*.jsonl")]
    assert not [text for text in (done.output, listed.read_text(), *texts) if SIGNATURE in text]
    assert f"{root}/secret/download?***" in listed.read_text()
    # A folder with it is finished by its entity tag.
    line = (f"{root}/a.jpg", signed, "-o", tmp_path / "several")
    assert blur(*line).exit_code == 0
    site.asked.clear()
    assert "2 files skipped" in blur(*line).stdout

    site.cuts = 99
    result = blur(f"{root}/a.jpg", "-o", tmp_path / "b.jpg")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "does not answer as it should" in result.stderr
    site.cuts = 0
    for arguments, code, told in (
        ((f"{root}/no.jpg", "-o", tmp_path / "b.jpg"), 3, "does not exist"),
        ((f"{root}/secret/download?sig=x", "-o", tmp_path / "b.jpg"), 3, "is denied"),
        ((f"{root}/moved.jpg", "-o", tmp_path / "b.jpg"), 3, "without encryption"),
        ((f"{root}/a.jpg",), 3, "can only be read"),
        ((f"{root}/folder/", "-o", tmp_path / "b"), 3, "name the files"),
        (("http://127.0.0.1/a.jpg", "-o", tmp_path / "b.jpg"), 3, "download it"),
        (("https://127.0.0.1:1/a.jpg", "-o", tmp_path / "b.jpg"), 3, "check the address"),
    ):
        result = blur(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert told in result.stderr
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    connections.connect.cache_clear()
    result = blur(f"{root}/a.jpg", "-o", tmp_path / "b.jpg")
    assert (result.exit_code, "vouches for the certificate" in result.stderr) == (3, True)
    assert not (tmp_path / "b.jpg").exists()
