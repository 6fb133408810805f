"""Checkpoints are read for their weights alone; nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from faceblur.errors import ModelError
from faceblur_export.network import build
from faceblur_export.weights import safe_pickle as inert_pickle
from faceblur_export.weights.checkpoint import load_model, load_state_dict

OFFICIAL = "yolov5n-0.5-face.pt"


def archive(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """A file laid out as PyTorch lays out its checkpoints."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
    return path


@pytest.mark.parametrize("name", ["crowd", "street", "masks"])
def test_official_weights_give_the_reference_rows(shared: Path, name: str) -> None:
    model, variant = load_model(shared / "weights" / OFFICIAL)
    assert variant == "yolov5n-0.5"
    assert not model.training
    golden = np.load(shared / "golden" / f"{name}.npz")
    image = cv2.imread(str(shared / "golden" / f"{name}.png"))[:, :, ::-1]
    with torch.inference_mode():
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        rows = model.decode(model(x))[0].numpy()
    assert len(rows) == golden["n_rows"]
    np.testing.assert_allclose(rows[golden["rows"]], golden["decoded"], atol=1e-3, rtol=1e-4)


def test_our_own_training_checkpoint(tmp_path: Path) -> None:
    model = build("yolov5n-0.5").eval()
    saved = {
        "format": "faceblur-checkpoint-1",
        "variant": "yolov5n-0.5",
        "model": model.state_dict(),
        "epoch": 3,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9).state_dict(),
    }
    torch.save(saved, tmp_path / "last.pt")
    loaded, variant = load_model(tmp_path / "last.pt")
    assert variant == "yolov5n-0.5"
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_half_precision_state_dict_comes_back_as_float32(tmp_path: Path) -> None:
    torch.save(build("yolov5n-0.5").half().state_dict(), tmp_path / "half.pt")
    state = load_state_dict(tmp_path / "half.pt")
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}


class Call:
    """Pickles to a call of a function, which is how a hostile checkpoint runs code."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (eval, "eval"), (os.mkdir, "mkdir")]
)
def test_hostile_pickle_does_not_run_and_is_refused_by_name(
    tmp_path: Path, function: Callable[..., Any], name: str, protocol: int
) -> None:
    trace = tmp_path / "it_ran"
    argument = {
        "system": f"mkdir {trace}",
        "eval": f"__import__('os').mkdir({str(trace)!r})",
        "mkdir": str(trace),
    }[name]
    pickled = pickle.dumps({"model": Call(function, argument)}, protocol)
    pickle.loads(pickled)
    assert trace.is_dir(), "the pickle must be one that does harm"
    trace.rmdir()
    with pytest.raises(ModelError, match=rf"\.{name}, which .* not run"):
        load_state_dict(archive(tmp_path / "hostile.pt", pickled))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.nn.modules.module", "os.system"),
        ("models.common", "Conv.__init__.__globals__"),
        ("collections", "OrderedDict.fromkeys"),
        ("modelsx", "Conv"),
    ],
)
def test_no_other_name_is_admitted(tmp_path: Path, module: str, name: str) -> None:
    stack_global = b"\x80\x04" + b"".join(
        b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name)
    )
    with pytest.raises(ModelError, match=name):
        inert_pickle.load(archive(tmp_path / "x.pt", stack_global + b"\x93."))


def test_hostile_call_hidden_in_the_official_checkpoint(shared: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it_ran"
    with zipfile.ZipFile(shared / "weights" / OFFICIAL) as official:
        pickled = official.read("archive/data.pkl")
    assert pickled[:2] == b"\x80\x02"
    call = f"cposix\nmkdir\n(V{trace}\ntR0".encode()
    with pytest.raises(ModelError, match=r"posix\.mkdir"):
        load_model(archive(tmp_path / "x.pt", pickled[:2] + call + pickled[2:]))
    assert not trace.exists()


def test_an_ordinary_unpickler_would_be_caught(tmp_path: Path) -> None:
    """The check above can fail: with an unpickler that imports, the harm is done."""
    trace = tmp_path / "it_ran"

    class Trusting(inert_pickle.InertUnpickler):
        def find_class(self, module: str, name: str) -> Any:
            return pickle.Unpickler.find_class(self, module, name)

    pickled = pickle.dumps(Call(os.mkdir, str(trace)))
    path = archive(tmp_path / "x.pt", pickled)
    with zipfile.ZipFile(path) as file:
        Trusting(io.BytesIO(pickled), file, "archive/").load()
    assert trace.is_dir()


def storage_pickle(*, count: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A pickled dict with one tensor over the storage `0`."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            is_storage = obj == "the storage"
            return ("storage", torch.FloatStorage, "0", "cpu", count) if is_storage else None

    rebuild = torch._utils._rebuild_tensor_v2
    out = io.BytesIO()
    Pickler(out, 2).dump({"w": Call(rebuild, "the storage", 0, size, stride, False, {})})
    return out.getvalue()


def test_tensor_is_read_from_its_storage(tmp_path: Path) -> None:
    data = np.arange(6, dtype=np.float32).tobytes()
    pickled = storage_pickle(count=6, size=(2, 3), stride=(3, 1))
    state = load_state_dict(archive(tmp_path / "x.pt", pickled, {"0": data}))
    assert state["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "shape",
    [
        {"count": 6, "size": (1000, 1000), "stride": (1000, 1)},
        {"count": 6, "size": (2, 3), "stride": (-3, 1)},
        {"count": 10**12, "size": (2, 3), "stride": (3, 1)},
    ],
    ids=["looks outside", "looks before", "claims more than is there"],
)
def test_tensor_outside_its_storage_is_refused(tmp_path: Path, shape: dict[str, Any]) -> None:
    path = archive(tmp_path / "x.pt", storage_pickle(**shape), {"0": bytes(24)})
    with pytest.raises(ModelError, match="not a readable"):
        load_state_dict(path)


def test_damaged_files_are_refused_in_one_sentence(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "weights" / OFFICIAL).read_bytes()
    files = {"empty": b"", "cut short": whole[: len(whole) // 2], "text": b"weights\n"}
    for name, content in files.items():
        path = tmp_path / f"{name}.pt"
        path.write_bytes(content)
        with pytest.raises(ModelError, match="fetch it again") as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(ModelError, match="cannot read"):
            load_model(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"fit none of the variants.*yolov5n-0\.5"):
        load_model(tmp_path / "other.pt")
    torch.save({"epoch": 3}, tmp_path / "nothing.pt")
    with pytest.raises(ModelError, match="holds no weights"):
        load_model(tmp_path / "nothing.pt")


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    state = build("yolov5n-0.5").state_dict()
    state["model.7.conv.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(ModelError, match=r"not numbers, in model\.7\.conv\.weight"):
        load_model(tmp_path / "nan.pt")
