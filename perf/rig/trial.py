"""One camera, one viewer of what it publishes, one fault at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faceblur.detection import models
from faceblur.detection.options import DetectionOptions
from faceblur.detection.repository import FAST_MODEL
from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.live import Camera, CameraOptions, ReconnectingDetector, parse_sink, parse_source
from faceblur.masks.policy import Policy
from rig.blindfold import Blindfold
from rig.clips import FPS, PORTRAIT
from rig.faults import Fault, Services, services
from rig.judge import Judge, Verdict
from rig.ports import free_port
from rig.viewer import Viewer, viewer

SIZE: Final = (320, 240)
DEADLINE_S: Final = 1.0
NETWORK_SIZE: Final = 320
PATIENCE_S: Final = 90.0
"""How long a camera may take to recover, on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How the camera under test is set.

    Attributes:
        detect_every: Every so many frames the detector is asked.
        lookahead: Likewise.
    """

    detect_every: int = 1
    lookahead: int = 0


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a viewer saw of one fault.

    Attributes:
        fault: Its name.
        pictures: Received from shortly before the fault to the recovery, or shortly after it.
        faces: Of them with a face that shows; has to be 0.
        withheld: Of them, placeholders.
        masked_after_s: From the fault to the first placeholder at the viewer.
        recovered_after_s: From its end to the first frame of the camera.
    """

    fault: str
    pictures: int
    faces: int
    withheld: int
    masked_after_s: float
    recovered_after_s: float


class Trial:
    """A camera under test and its viewer.

    Attributes:
        camera: The camera.
        viewer: What somebody receives from it, over RTSP.
        services: What it depends on.
    """

    def __init__(
        self, camera: Camera, viewer: Viewer, services: Services, blindfold: Blindfold
    ) -> None:
        self.camera = camera
        self.viewer = viewer
        self.services = services
        self._blindfold = blindfold
        self._judge = Judge(SIZE[1])

    def judged(self, start: int = 0, end: int | None = None) -> list[tuple[float, Verdict]]:
        """When each frame was received, and what is in it."""
        return [(seen.time_s, self._judge(seen.image)) for seen in self.viewer.seen(start, end)]

    def wait_until(self, wanted: Callable[[Verdict], bool], *, timeout_s: float) -> float:
        """Wait for a frame of some kind; when it was received.

        Raises:
            TimeoutError: None came.
        """
        number, deadline_s = self.viewer.count, time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if number >= self.viewer.count:
                time.sleep(0.03)
                continue
            time_s, verdict = self.judged(number, number + 1)[0]
            if wanted(verdict):
                return time_s
            number += 1
        raise TimeoutError(f"no such image within {timeout_s:g} s; {self.camera.stats()}")

    def run(self, fault: Fault, *, hold_s: float = 1.0, after_s: float = 0.0) -> TrialResult:
        """Apply a fault for a while, undo it, and judge all that was received meanwhile.

        Args:
            fault: What to break.
            hold_s: For how long from the first placeholder on.
            after_s: For how long to go on watching once the camera has recovered.

        Raises:
            TimeoutError: No placeholder came, or no frame of the camera after it.
        """
        self.wait_until(lambda verdict: not verdict.placeholder, timeout_s=PATIENCE_S)
        start, begun_s = self.viewer.count, time.monotonic()
        fault.apply(self.services)
        masked_s = self.wait_until(lambda verdict: verdict.placeholder, timeout_s=PATIENCE_S)
        time.sleep(hold_s)
        fault.undo(self.services)
        undone_s = time.monotonic()
        recovered_s = self.wait_until(lambda verdict: not verdict.placeholder, timeout_s=PATIENCE_S)
        time.sleep(after_s)
        verdicts = [verdict for _, verdict in self.judged(start)]
        return TrialResult(
            fault=fault.name,
            pictures=len(verdicts),
            faces=sum(verdict.face for verdict in verdicts),
            withheld=sum(verdict.placeholder for verdict in verdicts),
            masked_after_s=masked_s - begun_s,
            recovered_after_s=max(0.0, recovered_s - undone_s),
        )

    def control(self, *, hold_s: float = 5.0) -> list[Verdict]:
        """Blind the detector for a while, and judge what was received after its first leak.

        No `Fault`: nothing is broken that the camera could notice, so faces have to show, and a
        judge that does not say so is worth nothing. Do it last: it spoils what was received.

        Raises:
            TimeoutError: The judge saw no face.
        """
        self.wait_until(lambda verdict: not verdict.placeholder, timeout_s=PATIENCE_S)
        self._blindfold.is_on = True
        try:
            self.wait_until(lambda verdict: verdict.face, timeout_s=PATIENCE_S)
            start = self.viewer.count
            time.sleep(hold_s)
            end = self.viewer.count
        finally:
            self._blindfold.is_on = False
        return [verdict for _, verdict in self.judged(start, end)]


@contextmanager
def trial(folder: Path, setup: Setup | None = None) -> Iterator[Trial]:
    """Run a camera on a moving face, published over RTSP to a viewer."""
    setup = setup or Setup()
    onnx, model = models.find(FAST_MODEL)
    with ExitStack() as stack:
        options = ServerOptions(onnx=onnx, model=model, instances=2, threads=1)
        server = stack.enter_context(TritonServer(options))
        between = stack.enter_context(services(server))
        session = SessionOptions(
            server=between.network.address, deadline_s=DEADLINE_S, transport="raw"
        )
        url = f"rtsp://127.0.0.1:{free_port()}/blurred"
        watching = stack.enter_context(viewer(url, folder / "seen", size=SIZE))
        blindfold = Blindfold(stack.enter_context(ReconnectingDetector(session)))
        source = f"testpattern:?size={SIZE[0]}x{SIZE[1]}&fps={FPS}&face={PORTRAIT}"
        camera = Camera(
            CameraOptions(
                name="door",
                source=parse_source(source),
                sinks=(parse_sink(url),),
                policy=Policy(detection=DetectionOptions(size=NETWORK_SIZE)),
                deadline_s=DEADLINE_S,
                detect_every=setup.detect_every,
                lookahead=setup.lookahead,
            ),
            blindfold,
        )
        camera.start()
        stack.callback(camera.stop)
        if not watching.wait_for(1, timeout_s=PATIENCE_S):
            raise TimeoutError(f"nothing was received; {camera.stats()}")
        yield Trial(camera, watching, between, blindfold)
