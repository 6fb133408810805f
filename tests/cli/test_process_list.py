"""What other users of the machine see of a command that runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it cannot be hidden")
def test_credentials_of_any_command_are_taken_out_of_the_list_of_processes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        place = f"127.0.0.1:{listener.getsockname()[1]}/a.jpg"
        address = f"https://me:p4ssw0rd@{place}?signature=s1gned"
        line = [
            sys.executable,
            "-m",
            "faceblur",
            "blur",
            address,
            "-o",
            os.fsdecode(b"caf\xe9.jpg"),
        ]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # It waits for an answer by now.
            connection, _ = listener.accept()
            with connection:
                shown = Path("/proc", str(process.pid), "cmdline").read_bytes().split(b"\0")
        finally:
            process.kill()
            process.wait()
    assert [os.fsdecode(each) for each in shown[: len(line)]] == [
        *line[:4],
        f"https://***@{place}?signature=***",
        *line[5:],
    ]
