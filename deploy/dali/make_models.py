"""Make DALI models that decode JPEGs on the GPU, in place of `jpeg_letterbox`: docs/serving.md.

    python deploy/dali/make_models.py --output model_repository
    python deploy/dali/make_models.py --check photo.jpg

A DALI graph has one output shape, so each canonical shape gets a model, which is a pipeline in
serialised form, and an ensemble. Needs `pip install nvidia-dali-cuda120` (or `-cuda130`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2] / "model_repository" / "jpeg_letterbox" / "1"))

import letterboxing
import numpy as np
from image_decoder import find_decoder
from jpeg_header import read_size

PYTHON_MODEL: Final = Path(letterboxing.__file__).parents[1]
MAX_PIXELS: Final = 40_000_000
BATCH: Final = 8
LETTERBOX: Final = """\
# JPEG to the detector's input by DALI; made by deploy/dali/make_models.py.
name: "jpeg_letterbox_{h}x{w}"
backend: "dali"
max_batch_size: 8
version_policy {{ latest {{ num_versions: 1 }} }}

# One file a request: files are not of one length.
input [ {{ name: "jpeg" data_type: TYPE_UINT8 dims: [ -1 ] allow_ragged_batch: true }} ]

output [
  {{ name: "images" data_type: TYPE_UINT8 dims: [ {h}, {w}, 3 ] }},
  {{ name: "geometry" data_type: TYPE_FP32 dims: [ 4 ] }}
]

# At least two everywhere: docs/triton-stall.md.
instance_group [ {{ kind: KIND_{kind} count: 2 }} ]

{queue}
"""
ENSEMBLE: Final = """\
# As face_detection_jpeg, decoded by DALI; made by deploy/dali/make_models.py.
name: "face_detection_jpeg_{h}x{w}"
platform: "ensemble"
max_batch_size: 8
version_policy {{ latest {{ num_versions: 1 }} }}

input [
  {{ name: "jpeg" data_type: TYPE_UINT8 dims: [ -1 ] }},
  {{ name: "min_score" data_type: TYPE_FP32 dims: [ 1 ] optional: true }}
]

# In pixels of the image that was encoded.
output [
  {{ name: "faces" data_type: TYPE_FP32 dims: [ -1, 15 ] }},
  {{ name: "face_count" data_type: TYPE_INT32 dims: [ 1 ] }}
]

ensemble_scheduling {{
  step [
    {{
      model_name: "jpeg_letterbox_{h}x{w}"
      model_version: -1
      input_map {{ key: "jpeg" value: "jpeg" }}
      output_map {{ key: "images" value: "images" }}
      output_map {{ key: "geometry" value: "geometry" }}
    }},
    {{
      model_name: "yolov5_face"
      model_version: -1
      input_map {{ key: "images" value: "images" }}
      output_map {{ key: "candidates" value: "candidates" }}
      output_map {{ key: "priors" value: "priors" }}
    }},
    {{
      model_name: "face_postprocess"
      model_version: -1
      input_map {{ key: "candidates" value: "candidates" }}
      input_map {{ key: "priors" value: "priors" }}
      input_map {{ key: "min_score" value: "min_score" }}
      input_map {{ key: "geometry" value: "geometry" }}
      output_map {{ key: "faces" value: "faces" }}
      output_map {{ key: "face_count" value: "face_count" }}
    }}
  ]
}}
"""


def letterbox(height: int, width: int, *, on_gpu: bool) -> Any:
    """The pipeline of one shape: JPEGs in; images and what takes points back to them out.

    Raises:
        ImportError: DALI is not installed.
    """
    from nvidia.dali import fn, math, pipeline_def, types

    @pipeline_def(batch_size=BATCH, num_threads=2, device_id=0 if on_gpu else None)
    def graph() -> Any:
        files = fn.external_source(device="cpu", name="jpeg", dtype=types.UINT8, ndim=1)
        images = fn.decoders.image(
            files,
            device="mixed" if on_gpu else "cpu",
            output_type=types.RGB,
            adjust_orientation=False,
        )
        shape = fn.cast(fn.peek_image_shape(files, adjust_orientation=False), dtype=types.FLOAT)
        down, across = shape[0], shape[1]
        scale = math.min(height / down, width / across)
        rows, columns = math.floor(down * scale + 0.5), math.floor(across * scale + 0.5)
        top, left = math.floor((height - rows) / 2), math.floor((width - columns) / 2)
        inside = fn.resize(
            images,
            resize_x=columns,
            resize_y=rows,
            min_filter=types.INTERP_TRIANGULAR,
            mag_filter=types.INTERP_LINEAR,
        )
        canvas = fn.slice(
            inside,
            start=fn.cast(fn.stack(-top, -left), dtype=types.INT32),
            shape=[height, width],
            axes=[0, 1],
            out_of_bounds_policy="pad",
            fill_values=[letterboxing.PAD_VALUE],
        )
        geometry = fn.stack(across / columns, down / rows, left, top)
        return fn.cast(canvas, dtype=types.UINT8), fn.cast(geometry, dtype=types.FLOAT)

    return graph()


def write(
    output: Path, *, size: int, stride: int, on_gpu: bool, serialise: Callable[[int, int], bytes]
) -> Iterator[Path]:
    """Write a model and an ensemble for each canonical shape.

    Args:
        output: The model repository.
        size: Longest side of the model input, pixels.
        stride: Largest stride of the detector.
        on_gpu: Whether the pipelines decode on the GPU.
        serialise: Gives the pipeline of a shape.

    Yields:
        The folder of each model.
    """
    # Queues are those of the model whose place it takes.
    python = (PYTHON_MODEL / "config.pbtxt").read_text()
    (queue,) = re.findall(r"^dynamic_batching \{\n.*?^\}", python, re.DOTALL | re.MULTILINE)
    for h, w in letterboxing.canonical_shapes(size=size, stride=stride):
        pipeline = serialise(h, w)
        names = (f"jpeg_letterbox_{h}x{w}", LETTERBOX), (f"face_detection_jpeg_{h}x{w}", ENSEMBLE)
        for name, template in names:
            (output / name / "1").mkdir(parents=True, exist_ok=True)
            text = template.format(h=h, w=w, kind="GPU" if on_gpu else "CPU", queue=queue)
            (output / name / "config.pbtxt").write_text(text)
        (output / names[0][0] / "1" / "model.dali").write_bytes(pipeline)
        yield output / names[0][0]


def serialised(height: int, width: int, *, on_gpu: bool) -> bytes:
    """The pipeline of a shape, as the backend reads it."""
    return bytes(letterbox(height, width, on_gpu=on_gpu).serialize())


def check(path: Path, *, size: int, stride: int, on_gpu: bool) -> str:
    """How DALI's model input of a JPEG differs from that of `jpeg_letterbox`, for a person.

    Raises:
        ValueError: The file is no JPEG that `jpeg_letterbox` takes.
    """
    data = path.read_bytes()
    source = read_size(data, max_pixels=MAX_PIXELS)
    (placement,) = letterboxing.place([source], size=size, stride=stride)
    resized = find_decoder().read(data, source, placement.resized)
    expected = letterboxing.paste(resized, placement.shape, placement.left, placement.top)
    mapping = letterboxing.mapping(source, placement.resized, placement.left, placement.top)
    pipeline = letterbox(*placement.shape, on_gpu=on_gpu)
    pipeline.feed_input("jpeg", [np.frombuffer(data, np.uint8)] * BATCH)
    images, geometry = (np.asarray(each.as_cpu().as_array()[0]) for each in pipeline.run())
    apart = np.abs(images.astype(int) - expected)
    same = "the same" if np.allclose(geometry, mapping, rtol=1e-6) else f"{geometry} for {mapping}"
    return f"{path}: mean {apart.mean():.3f}, at most {apart.max()} of 255; geometry {same}"


def main() -> None:
    """Make the models, or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, help="the model repository")
    parser.add_argument("--check", type=Path, nargs="+", default=[], metavar="JPEG")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--stride", type=int, default=32)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    options = parser.parse_args()
    on_gpu = options.device == "gpu"
    if not options.output and not options.check:
        parser.error("give --output, or --check with images")
    try:
        for path in options.check:
            line = check(path, size=options.size, stride=options.stride, on_gpu=on_gpu)
            sys.stdout.write(line + "\n")
        if options.output:
            for folder in write(
                options.output,
                size=options.size,
                stride=options.stride,
                on_gpu=on_gpu,
                serialise=lambda h, w: serialised(h, w, on_gpu=on_gpu),
            ):
                sys.stdout.write(f"{folder}\n")
    except ImportError as error:
        sys.exit(f"{error}; run: pip install nvidia-dali-cuda120")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    except RuntimeError as error:
        # DALI's own; a traceback of C++ follows the sentence.
        sys.exit(str(error).strip().splitlines()[0])


if __name__ == "__main__":
    main()
