"""openSMILE's low-level descriptors, extracted like the published acoustic features of IEMOCAP.

Source: Eyben et al., openSMILE, ACM Multimedia 2010; ComParE 2016, Schuller et al., Interspeech 2016; MMIN's
``preprocess/IEMOCAP/make_comparE.py``. openSMILE's licence forbids commercial use, including its features.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nmer.extraction.packages import weights_file
from nmer.extraction.padding import padded
from nmer.extraction.registry import SAMPLE_RATE, Extracted, PadTo, Segment, UnusableError, extractor
from nmer.extraction.resampling import downsampled
from nmer.options import Count

COMPARE = "core/config/compare/ComParE_2016_core.lld.conf.inc"
LEVELS = ("is13_lld_nzsmo", "is13_lldA_smo", "is13_lldB_smo")
"""Levels of that file whose descriptors, followed by their deltas, are the 130 features."""

CONFIGURATION = """\
[componentInstances:cComponentManager]
instance[dataMemory].type=cDataMemory
\\{{\\cm[source{{?}}:include external source]}}
\\{{{compare}}}
[componentInstances:cComponentManager]
instance[nmer_lld].type=cVectorConcat
[nmer_lld:cVectorConcat]
reader.dmLevel = {levels}
writer.dmLevel = lld
includeSingleElementFields = 1
\\{{\\cm[sink{{?}}:include external sink]}}
"""
"""Descriptors and deltas in one pass: read as two levels of the wheel they have different numbers of rows."""


@extractor(
    "opensmile",
    modality="a",
    needs=("audio",),
    licence="research",
    packages=("av", "opensmile"),
)
def opensmile(
    segment: Segment,
    *,
    set: Literal["ComParE_2016", "eGeMAPSv02", "GeMAPSv01b"] = "ComParE_2016",
    downsample: Count = 10,
    pad_to: PadTo = 0,
) -> Extracted:
    """Return 130 features (ComParE_2016: 65 descriptors, 65 deltas) or 25 (eGeMAPSv02) at 100 Hz / ``downsample``.

    set: the feature set. downsample: factor of the down-sampling after a low-pass filter, as published; 1 = none.
    pad_to: number of frames to cut or zero-pad to, 0 = no change. Counts ``frames``. Raises UnusableError for audio
    with at most ``downsample`` rows (about 0.16 s).
    """
    rows = _process(set, segment.audio)
    if len(rows) <= (downsample if downsample > 1 else 0):
        raise UnusableError("too_short", f"{len(segment.audio) / SAMPLE_RATE:.3f} s of audio give {len(rows)} rows")
    values = downsampled(rows, downsample).astype(np.float32)
    return Extracted(padded(values, pad_to), {"frames": len(rows)})


def _process(name: str, audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the rows (n, dim) of a feature set; none if the audio is shorter than a window."""
    if not len(audio):
        return np.zeros((0, 1))
    # The library converts samples to 16 bits, where 1.0 would wrap around to the lowest number.
    signal = audio.clip(-1, 32767 / 32768)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about short audio, which the caller handles
        values = np.asarray(_smile(name).process_signal(signal, SAMPLE_RATE).to_numpy(), np.float64)
    # A signal shorter than a window gives one row of NaN.
    return values[:0] if not np.isfinite(values).all() else values


@cache
def _smile(name: str) -> Any:
    import opensmile as library

    if name == "ComParE_2016":
        folder = Path(tempfile.mkdtemp(prefix="nmer_opensmile_"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        levels = ";".join([*LEVELS, *(f"{level}_de" for level in LEVELS)])
        path = folder / "lld.conf"
        path.write_text(
            CONFIGURATION.format(compare=weights_file("opensmile", COMPARE), levels=levels), encoding="utf-8"
        )
        return library.Smile(str(path), "lld", num_workers=1)
    level = library.FeatureLevel.LowLevelDescriptors
    return library.Smile(getattr(library.FeatureSet, name), level, num_workers=1)
