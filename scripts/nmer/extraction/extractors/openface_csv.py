"""Facial action units, head pose and gaze from a user's CSV files of OpenFace.

Source: Baltrusaitis et al., OpenFace 2.0, FG 2018, whose licence forbids commercial use.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from nmer.errors import DataError, listed
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, PadTo, Segment, UnusableError, extractor
from nmer.options import Bounds

UNITS_R = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
UNITS_C = (*UNITS_R[:-1], "28", "45")
COLUMNS = (
    *(f"AU{unit}_r" for unit in UNITS_R),
    *(f"AU{unit}_c" for unit in UNITS_C),
    *(f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"),
    *(f"gaze_{eye}_{axis}" for eye in "01" for axis in "xyz"),
    "gaze_angle_x",
    "gaze_angle_y",
)
"""The 49 features: 17 intensities and 18 presences of action units, 6 values of head pose, 8 of gaze."""

REQUIRED = ("timestamp", "success")


@extractor(
    "openface_csv",
    modality="v",
    licence="research",
    paths=("folder",),
    required=("folder",),
)
def openface_csv(
    segment: Segment,
    *,
    folder: str = "",
    files: Literal["recording", "utterance"] = "recording",
    fps: Annotated[float, Bounds(0.1)] = 10.0,
    pad_to: PadTo = 0,
) -> Extracted:
    """Return 49 features per picture, at ``fps`` pictures per second; a picture without a face gives a row of zeros.

    folder: folder of the CSV files. files: ``recording`` for one file per video, named after it and cut at the span of
    the utterance; ``utterance`` for one file per utterance, named by its id. Of several faces the one tracked longest
    is used. pad_to: number of frames to cut or zero-pad to, 0 = no change. Counts ``frames`` and ``faces``. Raises
    UnusableError if the file or rows of the span are missing, DataError if the file is not OpenFace output.
    """
    stem = segment.id if files == "utterance" else str(PurePosixPath(segment.recording).with_suffix(""))
    path = Path(folder, f"{stem}.csv")
    if not path.is_file():
        raise UnusableError("missing_file", f"{path.name}: no such OpenFace file")
    times, values = _read(path)
    start = 0.0 if files == "utterance" or segment.start is None else segment.start
    end = None if files == "utterance" else segment.end
    until = float(times[-1]) + 1 / fps if end is None else end
    if end is not None and not end > start:
        raise UnusableError("bad_span", f"from {start} to {end} s is not a span")
    moments = start + (np.arange(max(1, int(np.floor(round((until - start) * fps, 6))))) + 0.5) / fps
    index = np.searchsorted(times, moments, side="right") - 1
    # Rows may be missing in the middle: a row is used for at most one interval.
    present = (index >= 0) & (moments - times[index.clip(0)] <= 1 / fps)
    if not present.any():
        raise UnusableError("bad_span", f"{path.name} has no rows from {start:g} to {until:g} s")
    features = np.where(present[:, None], values[index.clip(0)], 0).astype(np.float32)
    faces = int((features != 0).any(axis=1).sum())
    return Extracted(padded(features, pad_to), {"frames": len(features), "faces": faces})


@cache
def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times (n,) in seconds, ascending, and features (n, 49), zero where no face was tracked."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not an OpenFace CSV file ({error}). Create it again.") from None
    header = [name.strip() for name in rows[0]] if rows else []
    missing = [name for name in (*REQUIRED, *COLUMNS) if name not in header]
    if missing:
        names = listed(missing[:5], len(missing))
        raise DataError(f"{path}: lacks the columns {names}. Run OpenFace with -aus -pose -gaze or correct the folder.")
    if len(rows) < 2:
        raise UnusableError("unreadable", f"{path.name} has no rows")
    try:
        table = np.array(rows[1:], np.float64)
    except ValueError:
        raise DataError(
            f"{path}: a row has the wrong number of cells, or a cell is not a number. Create it again."
        ) from None
    column = {name: table[:, number] for number, name in enumerate(header)}
    if "face_id" in column:
        faces, counts = np.unique(column["face_id"][column["success"] > 0], return_counts=True)
        if len(faces) > 1:
            kept = column["face_id"] == faces[counts.argmax()]
            column = {name: values[kept] for name, values in column.items()}
    order = np.argsort(column["timestamp"], kind="stable")
    values = np.column_stack([column[name] for name in COLUMNS])[order]
    values[column["success"][order] <= 0] = 0
    if not np.isfinite(values).all() or not np.isfinite(column["timestamp"]).all():
        raise DataError(f"{path}: contains values that are not finite. Create it again.")
    return column["timestamp"][order], values
