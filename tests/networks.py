"""Networks with weights that need no download."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from faceblur_export.network import YOLOv5Face, build

KEPT = ("anchors", "anchor_grid", "num_batches_tracked")


def closed_form_model(variant: str) -> YOLOv5Face:
    """A network with the weights of the golden outputs, in eval mode."""
    model = build(variant)
    model.load_state_dict(closed_form(model.state_dict()), strict=False)
    return model.eval()


def lively_model(variant: str) -> YOLOv5Face:
    """A network whose outputs depend on every layer and vary over the image, in eval mode.

    Random weights, with the normalisations set to what `noise_images(2, 128, 192)` gives. With the
    closed-form weights the deep layers hardly vary, and a wrong upsampling would not show. For
    shallow variants only: rounding grows with every normalisation.
    """
    torch.manual_seed(7)
    model = build(variant).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        model(torch.from_numpy(noise_images(2, 128, 192)).permute(0, 3, 1, 2) / 255)
    return model.eval()


def noise_images(batch: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(batch, height, width, 3) smooth noise, every image another."""
    noise = np.random.default_rng(7).integers(0, 256, (batch, height, width, 3), np.uint8)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in noise])


def closed_form(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The closed-form weights for the names and shapes of a state dict."""
    weights = {}
    for i, (key, value) in enumerate(state.items()):
        if key.endswith(KEPT):
            continue
        a = torch.arange(value.numel(), dtype=torch.float64)
        if key.endswith("running_var"):
            values = 1 + 0.5 * torch.sin(0.61 * a + i) ** 2
        elif value.ndim == 1 and key.endswith("weight"):
            values = 1 + 0.1 * torch.sin(0.37 * a + i)
        elif value.ndim == 1:
            values = 0.05 * torch.sin(0.37 * a + i)
        else:
            values = torch.sin(0.37 * a + i) * (1.2 / value[0].numel() ** 0.5)
        weights[key] = values.float().view(value.shape)
    return weights
