"""An embedded server that holds other topologies beside the product's ensemble."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any, Final, Literal

import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from faceblur.detection.repository import model_repository
from faceblur.detection.triton.client import DETECTOR, ENSEMBLE
from faceblur.detection.triton.runtime import JPEG_MODEL, POSTPROCESS
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions

Inputs = Literal["images", "scored", "jpeg"]

TWO_MODELS: Final = "face_detection_two_models"
"""The ensemble of a detector and a post-processing model, as on a GPU."""

DETECTOR_ALONE: Final = "yolov5_face_alone"
"""The detector with the inputs and outputs that it has on a GPU."""

ONE_CONSUMER: Final = "yolov5_face_one_consumer"
"""The embedded detector with a single instance, as no configuration of the product has."""

FOLDER: Final = Path(__file__).resolve().parents[2] / "topologies"


@dataclass(frozen=True)
class Topology:
    """A way to divide the work.

    Attributes:
        name: What the tables call it.
        model: What requests name.
        inputs: What it takes: pixels; pixels and a score; a JPEG and a score.
        parts: Models whose statistics make up its stages.
    """

    name: str
    model: str
    inputs: Inputs
    parts: tuple[str, ...]


TOPOLOGIES: Final = {
    topology.name: topology
    for topology in (
        Topology("ensemble", ENSEMBLE, "scored", (DETECTOR,)),
        Topology("two models", TWO_MODELS, "scored", (DETECTOR_ALONE, POSTPROCESS)),
        Topology("detector alone", DETECTOR_ALONE, "images", (DETECTOR_ALONE,)),
        Topology("in graph", "face_detection_in_graph", "scored", ("face_detection_in_graph",)),
    )
}

JPEG: Final = Topology("ensemble", "face_detection_jpeg", "jpeg", (JPEG_MODEL, DETECTOR))
"""The ensemble that takes images as JPEG."""


def served(topology: Topology, client: grpcclient.InferenceServerClient) -> Topology:
    """A topology on a server that is not one of ours: with the models that it has."""
    if topology.model == DETECTOR_ALONE:
        return replace(topology, model=DETECTOR, parts=(DETECTOR,))
    models = (JPEG_MODEL, DETECTOR, POSTPROCESS) if topology == JPEG else (DETECTOR, POSTPROCESS)
    return replace(topology, parts=tuple(m for m in models if client.is_model_ready(m)))


@contextlib.contextmanager
def topology_server(options: ServerOptions) -> Iterator[TritonServer]:
    """Serve the product's repository and the contenders in `perf/topologies`.

    Raises:
        ServerStartError: The server cannot run here.
    """
    with tempfile.TemporaryDirectory(prefix="faceblur-topologies-") as name:
        extra = Path(name)
        lay_out(extra, options)
        with _Server(options, extra) as server:
            yield server


@contextlib.contextmanager
def one_consumer_server(options: ServerOptions) -> Iterator[TritonServer]:
    """Serve the product's repository, the ensemble of two models, and `ONE_CONSUMER`.

    Raises:
        ServerStartError: The server cannot run here.
    """
    with tempfile.TemporaryDirectory(prefix="faceblur-topologies-") as name:
        extra = Path(name)
        _lay_out_two_models(extra, options)
        detector = _parse(model_repository() / DETECTOR / "configs" / "embedded.pbtxt")
        _fit(detector, options)
        detector.instance_group[0].count = 1
        _write_detector(extra, ONE_CONSUMER, detector, options)
        with _Server(options, extra) as server:
            yield server


def lay_out(folder: Path, options: ServerOptions) -> None:
    """Copy the contenders, with the detector's model in them and as many instances as it has."""
    from benchmarks.analyzer.graph import write_graph  # needs PyTorch, as nothing else here

    _lay_out_two_models(folder, options)
    for source in sorted(FOLDER.iterdir()):
        config = _parse(source / "config.pbtxt")
        _fit(config, options)
        version = _write(folder, source.name, config)
        copyfile(source / "1" / "model.py", version / "model.py")
        write_graph(options.onnx, version / "model.onnx")


def _lay_out_two_models(folder: Path, options: ServerOptions) -> None:
    """Copy the ensemble, the detector and the post-processing with the contract of a GPU's."""
    repository = model_repository()
    copytree(repository / POSTPROCESS, folder / POSTPROCESS)
    ensemble = _parse(repository / ENSEMBLE / "config.pbtxt")
    ensemble.ensemble_scheduling.step[0].model_name = DETECTOR_ALONE
    _write(folder, TWO_MODELS, ensemble)
    detector = _parse(repository / DETECTOR / "configs" / "embedded.pbtxt")
    del detector.input[1:]
    del detector.output[2:]
    _fit(detector, options)
    _write_detector(folder, DETECTOR_ALONE, detector, options)


def _parse(path: Path) -> Any:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def _fit(config: Any, options: ServerOptions) -> None:
    """As many instances and threads as the product's detector has."""
    config.instance_group[0].count = options.instances
    config.parameters["threads"].string_value = str(options.threads)


def _write(folder: Path, name: str, config: Any) -> Path:
    """Write a model's configuration; the folder of its only version."""
    config.name = name
    version = folder / name / "1"
    version.mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(text_format.MessageToString(config))
    return version


def _write_detector(folder: Path, name: str, config: Any, options: ServerOptions) -> None:
    """Write a detector in the Python backend: its configuration, code and model."""
    version = _write(folder, name, config)
    for each in ("model.py", "face_decoding.py"):
        copyfile(model_repository() / DETECTOR / "1" / each, version / each)
    (version / "model.onnx").symlink_to(options.onnx.resolve())


class _Server(TritonServer):
    """Reads a second model repository too."""

    def __init__(self, options: ServerOptions, extra: Path) -> None:
        super().__init__(options)
        self._extra = extra

    def _arguments(self) -> Sequence[str]:
        return [*super()._arguments(), f"--model-repository={self._extra}"]
