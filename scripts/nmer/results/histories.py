"""Histories of trainings, read with what their folders say of them."""

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
"""What a history is of; the system is the one under which the training was made."""

_FOLDERS = re.compile(
    r"(?P<dataset>[^/]+)/(?P<system>[^/]+)/(?P<regime>clean|incomplete|all_noisy)/((?P<corruption>[^/]+)/)?fold(?P<fold>\d+)/[^/]+$"
)


def read_histories(paths: Iterable[str | Path], settings: ReportSettings, columns: Mapping[str, str]) -> pd.DataFrame:
    """One row per run, repeat and epoch: the columns RUN and those named. columns: as of ``read_columns``.

    What a file is the history of, its folders say: ``{dataset}/{system}/{regime}/[{noise}_{snr}dB/]fold{n}/``. Without
    a noise kind (trained clean), ``noise`` is empty and ``snr_db`` missing; it is MIXED or CLEAN, without a level, of a
    training that is tested at several levels and has none of its own. Raises DataError if the folders name no run
    or the file holds no history.
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
