"""Fixtures shared by all tests."""

from __future__ import annotations

import os

# Before numpy and torch start their threads: small networks are slower on several, and on a busy
# machine a hundred times so. Child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same figures on every CPU.
os.environ["FACEBLUR_RUNTIME"] = "onnxruntime"

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings

from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton.runtime import TritonRuntime
from faceblur.redaction import RedactingFilter
from rig.slow_link import SlowLink

# A busy machine takes long over an example now and then, which says nothing of the example; and
# each run has the same ones.
settings.register_profile(
    "busy", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

OFFICIAL = "yolov5n-0.5-face"
"""The official model that the shared material carries."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared material (weights, goldens, media), or a skip that says how to give it."""
    folder = os.environ.get("FACEBLUR_SHARED")
    if not folder or not Path(folder, "golden").is_dir():
        pytest.skip("needs the shared test material: set FACEBLUR_SHARED to its folder")
    return Path(folder).resolve()


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Undo what a command line that ran in this process made of the log, such as --quiet.

    Before a test, too: fixtures of wider scopes run commands.
    """
    _restore_log()
    yield
    _restore_log()


def _restore_log() -> None:
    log = logging.getLogger("faceblur")
    log.handlers = []
    log.setLevel(logging.NOTSET)
    # Services guard what all libraries log, and rewrite it before a test has read it.
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not _guards(h)]
    root.setLevel(logging.WARNING)


def _guards(handler: logging.Handler) -> bool:
    return any(isinstance(each, RedactingFilter) for each in handler.filters)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache of fetched models, instead of the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEBLUR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def official(shared: Path, cache: Path) -> str:
    """Name of the official n-0.5 model, pulled into the cache from the shared file."""
    from faceblur_export.pull import pull

    pull(OFFICIAL, source=shared / "weights" / f"{OFFICIAL}.pt")
    return OFFICIAL


@pytest.fixture(scope="session")
def session(official: str) -> Iterator[DetectionSession]:
    """An embedded Triton server with the official model; do not break it."""
    if not _has_triton():
        pytest.skip('needs the embedded Triton server: pip install -e ".[local]"')
    with open_session(SessionOptions(model=official)) as opened:
        assert opened.kind == "embedded"
        yield opened


@pytest.fixture
def far_server(session: DetectionSession) -> Iterator[str]:
    """host:port of that server over a narrow link: some twenty frames a second get through.

    The link is in this process, so what uses it cannot be over while a test waits for its middle.
    """
    assert session.server is not None
    link = SlowLink(session.server.address, mbit_per_s=120)
    yield link.address
    link.cut()


@pytest.fixture(scope="session")
def bundled_server() -> Iterator[str]:
    """host:port of a Triton server with the bundled model; do not break it."""
    if not _has_triton():
        pytest.skip('needs the embedded Triton server: pip install -e ".[local]"')
    with open_session(SessionOptions()) as opened:
        assert opened.server is not None
        yield opened.server.address


@pytest.fixture(scope="session")
def portrait() -> npt.NDArray[np.uint8]:
    """NASA's public-domain portrait of Eileen Collins, 512 × 512 BGR, one face."""
    image = cv2.imread(str(ROOT / "docs" / "images" / "before.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


def _has_triton() -> bool:
    from faceblur.errors import ServerStartError

    try:
        TritonRuntime.find()
    except ServerStartError:
        return False
    return True


def pytest_configure(config: pytest.Config) -> None:
    """Let what is started here be interrupted: a shell has it ignored in what runs beside it."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(ROOT / "tests" / "training"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say loudly when a run that must not skip did."""
    if _unwanted_skips(terminalreporter):
        terminalreporter.section("tests were skipped though FACEBLUR_NO_SKIPS is set", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that must not skip and did."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == pytest.ExitCode.OK and reporter and _unwanted_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unwanted_skips(reporter: pytest.TerminalReporter) -> bool:
    return bool(os.environ.get("FACEBLUR_NO_SKIPS") and reporter.stats.get("skipped"))
