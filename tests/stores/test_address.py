"""Addresses show no secrets, and make names as paths do."""

from __future__ import annotations

import pickle
from pathlib import PurePosixPath

import pytest

from faceblur.errors import InputError
from faceblur.redaction import redact
from faceblur.stores.address import Address, parse_address


def address(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a b.jpg", "s3://bucket/a b.jpg"),
        ("https://host/a.jpg?X-Amz-Signature=abc&n=1", "https://host/a.jpg?***"),
        ("sftp://me:pass@host/a.jpg", "sftp://***@host/a.jpg"),
        (
            "abfs://box@name.dfs.core.windows.net/a.jpg",
            "abfs://box@name.dfs.core.windows.net/a.jpg",
        ),
    ],
)
def test_an_address_is_shown_without_secrets_and_opened_with_them(text: str, shown: str) -> None:
    found = address(text)
    assert (str(found), found.url) == (shown, text)
    assert pickle.loads(pickle.dumps(found)) == found
    assert redact(f"cannot read {found}: gone") == f"cannot read {shown}: gone"
    assert all(secret not in repr(found) for secret in ("abc", "pass"))


def test_names_are_made_as_of_paths() -> None:
    folder, file = address("s3://bucket/in/"), address("s3://bucket/in/sub/clip.tar.mp4")
    path = PurePosixPath("in/sub/clip.tar.mp4")
    assert (file.name, file.stem, file.suffix) == (path.name, path.stem, path.suffix)
    assert file.relative_to(folder) == PurePosixPath("sub/clip.tar.mp4")
    assert file.with_name("x.mp4") == folder / "sub" / "x.mp4"
    assert not address("s3://bucket/inner/a.jpg").is_inside(folder)
    assert not address("s3://other/in/a.jpg").is_inside(folder)
    assert [address(f"s3://b/{name}").is_odd for name in ("a/../b", "a//b", "./b", "a/b")] == [
        *(True, True, True, False)
    ]


@pytest.mark.parametrize(
    ("text", "other", "same"),
    [
        ("s3://b/a.jpg", "s3a://b/a.jpg", True),
        ("gs://b/a.jpg", "gcs://b/a.jpg", True),
        ("az://b/a.jpg", "abfs://b@name.dfs.core.windows.net/a.jpg", True),
        ("abfss://b@name.dfs.core.windows.net/a", "abfs://b@name.blob.core.windows.net/a", True),
        ("abfs://b@name.dfs.core.windows.net/a", "abfs://b@other.dfs.core.windows.net/a", False),
        ("sftp://me:pass@host/a.jpg", "ssh://HOST:22/a.jpg", True),
        ("s3://b/a.jpg", "gs://b/a.jpg", False),
        ("s3://b/a.jpg", "s3://c/a.jpg", False),
    ],
)
def test_one_file_is_known_under_all_its_addresses(text: str, other: str, same: bool) -> None:
    assert address(text).is_same(address(other)) is same
    assert address(text).is_inside(address(other).parent) is same


@pytest.mark.parametrize("text", ["photo.jpg", "C:/x.jpg", "file:///a.jpg", "a/b:c/d"])
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize("text", ["s3:///a.jpg", "simplecache::s3://b/a", "s3://k:s@b/a"])
def test_what_is_no_address_that_may_be_used(text: str) -> None:
    with pytest.raises(InputError):
        parse_address(text)
