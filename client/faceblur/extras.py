"""How to add what is not installed."""

from __future__ import annotations

from pathlib import Path


def install_line(extra: str) -> str:
    """The command that adds an extra of this distribution, for the messages that ask for one.

    It names the checkout that runs: the distribution is on no package index, and what is called
    faceblur there is somebody else's.

    Args:
        extra: A key of `[project.optional-dependencies]`, such as "heic".

    Returns:
        A command that works in the current folder; from a wheel, one for a checkout.
    """
    checkout = Path(__file__).resolve().parents[2]
    inside = not (checkout / "pyproject.toml").is_file() or checkout == Path.cwd()
    return f'pip install -e "{"." if inside else checkout}[{extra}]"'
