"""A network on a GPU, tried on the CPU: its sessions, their memory, and what really ran."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from stand_ins import CPU, FAST

from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.repository import load_code


class _Runtime:
    """ONNX Runtime as it is where CUDA does not load: it goes on with the CPU."""

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, claims: list[str]) -> None:
        self.claims = claims
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._allocate)

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", CPU]

    def _allocate(self, shape: Any, kind: Any, *_: object) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", 0)

    def InferenceSession(self, path: str, options: Any, **_: object) -> Any:  # noqa: N802
        session = onnxruntime.InferenceSession(path, options, providers=[CPU])
        session.get_providers = lambda: self.claims
        return session


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ([CPU], "does not load here"),
        # A list of providers is a wish: what ran is in the profile of the run.
        (["CUDAExecutionProvider", CPU], "CPUExecutionProvider ran the convolutions"),
    ],
)
def test_a_provider_that_did_not_run_is_an_error(
    monkeypatch: pytest.MonkeyPatch, claims: list[str], said: str
) -> None:
    code = load_code("yolov5_face", "gpu_network")
    monkeypatch.setattr(code, "import_runtime", lambda: _Runtime(claims))
    with pytest.raises(RuntimeError, match=said):
        code.GpuNetwork(FAST, provider="CUDAExecutionProvider")


def test_memory_of_shapes_is_bounded_and_no_result_is_another_ones() -> None:
    code = load_code("yolov5_face", "gpu_network")
    network = code.open_network(FAST, provider=CPU)
    plain = open_onnx(FAST, threads=1)
    random = np.random.default_rng(0)
    kept = []
    for step in range(code.KEPT_SHAPES + 3):  # with that of the first run, four too many
        shape = (1 + step % 2, 64, 64 + 32 * (step % 11), 3)
        images = random.integers(0, 256, shape, dtype=np.uint8)
        kept.append((images, network.run(OUTPUTS, {INPUT: images})))
    assert len(network._ready) == code.KEPT_SHAPES
    for images, found in kept:
        for one, other in zip(found, plain.run(OUTPUTS, {INPUT: images}), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def shapes_by_session(
    monkeypatch: pytest.MonkeyPatch, code: Any
) -> list[tuple[object, tuple[int, ...]]]:
    """Which session is given memory of which shape, as it happens."""
    seen = []

    class Session(onnxruntime.InferenceSession):
        def io_binding(self) -> onnxruntime.IOBinding:
            binding = super().io_binding()
            bind = binding.bind_ortvalue_input

            def noting(name: str, value: onnxruntime.OrtValue) -> None:
                seen.append((self, tuple(value.shape())))
                bind(name, value)

            binding.bind_ortvalue_input = noting
            return binding

    runtime = SimpleNamespace(**vars(onnxruntime) | {"InferenceSession": Session})
    monkeypatch.setattr(code, "import_runtime", lambda: runtime)
    return seen


SHAPES = [(batch, 64, width, 3) for batch in (1, 4) for width in (64, 96)]


@pytest.mark.parametrize("shared", [False, True])
def test_no_session_meets_two_shapes(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    # CUDA's provider would build the plans of all convolutions again at each change.
    code = load_code("yolov5_face", "gpu_network")
    seen = shapes_by_session(monkeypatch, code)
    network = code.open_network(FAST, provider=CPU)
    if shared:
        network._common = network._session()
    for shape in SHAPES * 3:
        network.run(OUTPUTS, {INPUT: np.zeros(shape, np.uint8)})
    # What was opened once stays: nothing is built again.
    assert [shape for _, shape in seen] == [code.FIRST, *SHAPES]
    met_one = len({id(session) for session, _ in seen}) == len(seen)
    assert met_one is not shared


def test_what_is_kept_makes_room_and_the_last_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    code = load_code("yolov5_face", "gpu_network")
    network = code.open_network(
        FAST, provider=CPU, memory_bytes=3 * (code.SESSION_BYTES + (4 << 20))
    )
    assert list(network._ready) == [code.FIRST]
    for shape in SHAPES:
        network.run(OUTPUTS, {INPUT: np.zeros(shape, np.uint8)})
        network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[0], np.uint8)})
    assert list(network._ready) == [*SHAPES[2:], SHAPES[0]]
    # A session that finds too little memory gets that of all others, and fails only then.
    opened, failures = network._open, [RuntimeError("out of memory")]

    def failing(shape: tuple[int, ...]) -> Any:
        if failures:
            raise failures.pop()
        return opened(shape)

    monkeypatch.setattr(network, "_open", failing)
    network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[1], np.uint8)})
    assert list(network._ready) == [SHAPES[1]]
    failures[:] = [RuntimeError("out of memory")] * 2
    with pytest.raises(RuntimeError, match="out of memory"):
        network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[0], np.uint8)})
    network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[0], np.uint8)})


def test_engines_that_are_refused_are_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = load_code("yolov5_face", "gpu_network")
    engines = tmp_path / "engines"
    engines.mkdir()

    def opened(_: Path, **how: Any) -> str:
        if list(how["engines"].glob("*")):
            raise RuntimeError("could not deserialize engine from cache")
        return "built"

    monkeypatch.setattr(code, "GpuNetwork", opened)
    (engines / "old.engine").write_bytes(b"?")
    assert code.open_network(FAST, engines=str(engines)) == "built"

    def refused(_: Path, **how: Any) -> str:
        raise RuntimeError("no TensorRT")

    monkeypatch.setattr(code, "GpuNetwork", refused)
    with pytest.raises(RuntimeError, match="no TensorRT"):
        code.open_network(FAST, engines=str(engines))
