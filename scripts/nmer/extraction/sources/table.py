"""Clips listed in a table: a CSV file with one row per utterance."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from nmer.errors import DataError
from nmer.extraction.media_names import relative_name
from nmer.extraction.registry import Listing, Utterance, source
from nmer.utterance_table import check_file_names, read_listing

OPTIONAL = ("speaker", "split", "fold", "audio", "video", "start", "end", "text", "side")
SIDES = ("", "left", "right")


@source("table")
def read(root: Path, *, table: str = "utterances.csv") -> Listing:
    """Read ``root/table`` with the columns ``id``, ``label`` and any of ``OPTIONAL``.

    ``audio`` and ``video`` are file names below ``root`` (``audio`` defaults to ``video``), ``start`` and ``end``
    seconds in both files, ``side`` the half of the picture to use. Other columns are ignored. Raises DataError that
    names the id for a repeated id or one that cannot be a file name, a file name that leads out of ``root``, a time
    that is not a number, or an unknown side.
    """
    path = root / table
    columns = read_listing(path, ("id", "label"), OPTIONAL)
    ids = columns["id"]
    check_file_names(ids, path)
    repeated = [identifier for identifier, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: utterance id '{repeated[0]}' occurs more than once. Make ids unique.")
    utterances = []
    for number, identifier in enumerate(ids):
        row = {name: values[number] for name, values in columns.items()}
        place = f"{path}, utterance '{identifier}'"
        video = relative_name(row.get("video", ""), root, place)
        audio = relative_name(row.get("audio", ""), root, place) or video
        if (side := row.get("side", "")) not in SIDES:
            raise DataError(f"{place}: side '{side}' is not possible. Write left, right or leave it empty.")
        start, end = (_seconds(row.get(name, ""), f"{place}: {name}") for name in ("start", "end"))
        names = {name: row.get(name, "") for name in ("speaker", "split", "fold")}
        media = Utterance(identifier, row["label"], audio=audio, video=video, start=start, end=end, side=side)
        utterances.append(replace(media, text=row.get("text", ""), **names))  # type: ignore[arg-type]
    provided = tuple(name for name in ("speaker", "split", "fold") if name in columns)
    return Listing(utterances, provided)


def _seconds(written: str, place: str) -> float | None:
    try:
        return float(written) if written else None
    except ValueError:
        raise DataError(f"{place} '{written}' is not a number of seconds. Correct it.") from None
