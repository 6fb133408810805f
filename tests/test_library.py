"""The library as one meets it: public names, their examples, and the server that they share."""

from __future__ import annotations

import doctest
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media import Recording, moving_face_video
from waiting import until

import faceblur
from faceblur import blurrer
from faceblur.detection import shared as shared_module
from faceblur.detection.session import DetectionSession, open_session

LAZY = ("cv2", "av", "grpc", "numpy", "onnxruntime", "tritonclient", "PIL")


class Kept:
    """A session that outlives whoever closes it."""

    def __init__(self, session: DetectionSession) -> None:
        self.detector, self.model = session.detector, session.model

    def close(self) -> None:
        pass


@pytest.fixture
def served(
    session: DetectionSession,
    portrait: npt.NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """What the examples refer to, with the session of all tests in place of new ones."""
    monkeypatch.chdir(tmp_path)
    for shared in shared_module._shared.values():
        monkeypatch.setattr(shared, "_session", session)
    monkeypatch.setattr(
        blurrer,
        "open_session",
        lambda options, *, size: (
            Kept(session)
            if options.server is None and options.model is None
            else open_session(options, size=size)
        ),
    )
    cv2.imwrite("photo.jpg", portrait)
    how = Recording(encoder="libx264", options={})
    moving_face_video(Path("clip.mp4"), frames=2, width=320, height=180, recording=how)
    return {"faceblur": faceblur, "frame": portrait, "Path": Path}


def run_examples(name: str, documented: object, names: dict[str, Any]) -> tuple[int, str]:
    """How many lines of examples a docstring has, and what was wrong with them."""
    found = doctest.DocTestParser().get_doctest(
        getattr(documented, "__doc__", None) or "", dict(names), name, None, 0
    )
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(found, out=told.append)
    return len(found.examples), "".join(told)


def test_every_public_name_has_an_example_that_works(served: dict[str, Any]) -> None:
    problems = {}
    for name in faceblur.__all__:
        count, wrong = run_examples(name, getattr(faceblur, name), served)
        if wrong or not count:
            problems[name] = wrong or "it has no example"
    assert not problems, "\n".join(map(str, problems.items()))


def test_an_example_that_is_wrong_or_missing_is_seen() -> None:
    def wrong() -> None:
        """Nothing.

        >>> 1 + 1
        3
        """

    assert "Expected:" in run_examples("wrong", wrong, {})[1]
    assert run_examples("bare", object(), {})[0] == 0


def test_an_import_brings_nothing_along() -> None:
    check = (
        f"import sys, faceblur; dir(faceblur); print(set(sys.modules) & set({LAZY!r}));"
        "faceblur.InputError; print(set(sys.modules) & set({LAZY!r}));"
        "faceblur.blur; print('cv2' in sys.modules)"
    ).replace("{LAZY!r}", repr(LAZY))
    told = subprocess.check_output([sys.executable, "-c", check], text=True)
    assert told.split("\n")[:3] == ["set()", "set()", "True"]
    with pytest.raises(AttributeError):
        faceblur.nothing  # noqa: B018


def test_what_cannot_be_used_is_a_value_error_in_one_sentence(
    served: dict[str, Any], portrait: npt.NDArray[np.uint8]
) -> None:
    pages = [np.roll(portrait, shift, axis=1) for shift in (0, 9)]
    cv2.imwritemulti("pages.tif", pages)
    for call, said in (
        (lambda: faceblur.blur("missing.jpg"), "missing.jpg"),
        (lambda: faceblur.blur("clip.mp4", "safe.jpg"), "use faceblur.blur_video"),
        (lambda: faceblur.detect("clip.mp4"), "use faceblur.blur_video"),
        (lambda: faceblur.detect("pages.tif"), "has 2 pages"),
        (lambda: faceblur.blur("photo.jpg", "photo.jpg"), "is the source itself"),
        (lambda: faceblur.blur_video("clip.mp4", "clip.mp4"), "is the source itself"),
        (lambda: faceblur.blur(portrait, "safe.xyz"), "cannot write"),
        (lambda: faceblur.blur(portrait.astype(np.int64)), "int64"),
        (lambda: faceblur.connect(size=3), "64 to 8192"),
        (lambda: faceblur.detect(portrait, tiles="many"), "'many'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=said) as raised:
            call()
        assert isinstance(raised.value, faceblur.InputError)
    assert sorted(path.name for path in Path().iterdir()) == ["clip.mp4", "pages.tif", "photo.jpg"]


def test_an_array_and_all_pages_of_a_file_are_masked_into_a_file(
    served: dict[str, Any], portrait: npt.NDArray[np.uint8]
) -> None:
    solid = faceblur.MaskStyle(mode="solid")
    (page,) = faceblur.blur(portrait, "safe.png", mask=solid).frames
    x0, y0, x1, y1 = page.detections.boxes[0].astype(int)
    written = cv2.imread("safe.png")
    assert written is not None
    assert (written[(y0 + y1) // 2, (x0 + x1) // 2] == 0).all()
    # Over a result of before.
    faceblur.blur(portrait, "safe.png")
    cv2.imwritemulti("pages.tif", [portrait, np.ascontiguousarray(portrait[:, ::-1])])
    report = faceblur.blur("pages.tif", "safe.tif", mask=solid)
    assert [len(page.detections) > 0 for page in report.frames] == [True, True]


SCRIPT = """
    import os, sys
    from concurrent.futures import ThreadPoolExecutor
    import cv2, faceblur
    from faceblur.detection.shared import shared_session

    frame = cv2.imread(sys.argv[1])
    # From threads that end: the server stays.
    with ThreadPoolExecutor(3) as pool:
        assert all(len(each) for each in pool.map(faceblur.detect, [frame] * 6))
    server = shared_session()
    assert len(faceblur.blur(frame).detections)
    assert shared_session() is server
    child = os.fork()
    if child == 0:
        # It has a server of its own.
        assert len(faceblur.detect(frame)) and shared_session() is not server
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    # The child has taken nothing along.
    assert len(faceblur.detect(frame))
    print(server.server.pid if server.server else 0)
"""


def test_one_server_serves_all_threads_and_ends_with_the_process(
    official: str, portrait: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(photo)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pid = int(done.stdout)
    until(lambda: pid == 0 or not Path(f"/proc/{pid}").exists(), "its server has ended")
