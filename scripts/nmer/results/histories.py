"""Read histories of trainings; their folders name the run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from nmer.errors import DataError
from nmer.names import CLEAN, MIXED, TRAINED, corruption_name
from nmer.report_settings import ReportSettings
from nmer.results.reading import read_columns
from nmer.snr_column import with_snr

RUN = ("dataset", "system", "regime", "noise", "snr_db", "fold")
"""Keys of a history; the system is the one that was trained."""

_FOLDERS = re.compile(
    r"(?P<dataset>[^/]+)/(?P<system>[^/]+)/(?P<regime>clean|incomplete|all_noisy)/((?P<corruption>[^/]+)/)?fold(?P<fold>\d+)/[^/]+$"
)


def read_histories(paths: Iterable[str | Path], settings: ReportSettings, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read one row per run, repeat and epoch: the columns RUN and those named. columns: as for ``read_columns``.

    The folders name the run: ``{dataset}/{system}/{regime}/[{noise}_{snr}dB/]fold{n}/``. If trained clean, ``noise`` is
    empty and ``snr_db`` missing. For a training that is tested at several levels and has no level, ``noise`` is MIXED
    or CLEAN. Raises DataError if the folders name no run or the file is not a history.
    """
    frames = [_read_history(Path(path), settings, columns) for path in paths]
    if not frames:
        return pd.DataFrame(columns=[*RUN, *columns])
    return with_snr(pd.concat(frames, ignore_index=True))


def _read_history(path: Path, settings: ReportSettings, columns: Mapping[str, str]) -> pd.DataFrame:
    run = _FOLDERS.search(path.as_posix())
    kinds = settings.snr_db
    known: dict[str | None, tuple[str, float | None]] = {
        corruption_name(noise, level): (noise, level) for noise in kinds for level in settings.levels(noise)
    }
    known[None] = ("", None)
    for word in (MIXED, CLEAN):
        known[word] = (word, None)
    place = run["corruption"] and run["corruption"].removeprefix(TRAINED) if run else None
    if run is None or place not in known:
        raise DataError(
            f"{path}: its folders name no run of these settings, e.g. mosi/nmer/incomplete/gaussian_-10dB/fold1."
        )
    about = (run["dataset"], run["system"], run["regime"], *known[place], int(run["fold"]))
    return read_columns(path, columns).assign(**dict(zip(RUN, about, strict=True)))
