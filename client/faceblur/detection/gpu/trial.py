"""Try a GPU in a process of its own, which CUDA can end."""

from __future__ import annotations

import logging
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Final

from faceblur.errors import install_line

logger = logging.getLogger(__name__)

_TELLS_S: Final = 20.0
"""Between two lines that say for how long it has been tried."""


class GpuUnusableError(Exception):
    """The GPU cannot run the model; says why."""


def answer_of(
    command: Sequence[str], question: str, *, what: str, level: int, timeout_s: float
) -> str:
    """Ask a process, and say now and then for how long it has worked.

    How far TensorRT is cannot be told: ONNX Runtime does not hand that on.

    Args:
        command: Reads the question from stdin.
        question: Text for it.
        what: It does, for messages.
        level: Of those messages.
        timeout_s: How long it may take.

    Returns:
        What it wrote to stdout.

    Raises:
        GpuUnusableError: It fails, with the reason that it wrote to stderr, or takes too long.
    """
    pipe = subprocess.PIPE
    started = time.monotonic()
    try:
        with tempfile.TemporaryFile("w+") as given:
            # Through a pipe, what does not fit at once is lost when `communicate` is called again.
            given.write(question)
            given.seek(0)
            process = subprocess.Popen(command, stdin=given, stdout=pipe, stderr=pipe, text=True)
    except OSError as error:
        raise GpuUnusableError(f"it cannot be tried: {error}") from error
    with process:
        try:
            while (left_s := started + timeout_s - time.monotonic()) > 0:
                try:
                    stdout, stderr = process.communicate(timeout=min(_TELLS_S, left_s))
                except subprocess.TimeoutExpired:
                    elapsed_s = time.monotonic() - started
                    logger.log(level, "%s: %.0f s so far", what, elapsed_s)
                else:
                    if process.returncode != 0:
                        raise GpuUnusableError(_reason(stderr))
                    return stdout
            raise GpuUnusableError(f"it did not answer in {timeout_s:g} s")
        finally:
            process.kill()


def _reason(stderr: str) -> str:
    """Why a process failed: the library that is missing, else its last line."""
    missing = re.search(r"with error: ([^\n:]+: cannot open shared object file)", stderr)
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "the process that tried it died"
    if not missing:
        return last[:400]
    driver = missing[1].startswith("libcuda.")
    advice = "install NVIDIA's driver" if driver else f"run: {install_line('gpu')}"
    return f"{missing[1]}; {advice}"
