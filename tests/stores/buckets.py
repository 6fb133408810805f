"""A bucket as another client sees it."""

from __future__ import annotations

import os
from collections.abc import Callable

import boto3
from botocore.client import Config
from click.testing import Result

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
"""Of the login at the S3 server; it must show nowhere."""

Blur = Callable[..., Result]


def s3_login(port: int) -> dict[str, str]:
    """The environment with which the libraries find an S3 server of this machine."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class Bucket:
    """A bucket of the S3 server, as another client sees it, past the door."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}),
        )
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def keys(self, prefix: str = "") -> list[str]:
        """All names but those of notes."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in found if "/.faceblur/" not in each["Key"]]

    def unfinished(self) -> int:
        """How many uploads in parts are neither completed nor given up."""
        return len(self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", []))
