"""Read tables of utterances in CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from nmer.errors import DataError, nearest


def read_listing(path: str | Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[str]]:
    """Read a CSV file with a header and at least one row: column name -> values, stripped text.

    optional: columns to read if they exist; all others are ignored.
    Raises DataError, naming file and line, if the file is not UTF-8 or lacks a column of ``required``, or if the number
    of cells in a row differs from the header or a required cell is empty.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            # Spreadsheets write semicolons in many locales.
            delimiter = ";" if first.count(";") > first.count(",") else ","
            stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Correct the path.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{path}: is not a CSV file ({error}). Correct it.") from None
    for name in required:
        if name not in header:
            raise DataError(f"{path}: has no column '{name}'. {nearest(name, header)}")
    for name in {*required, *optional}:
        if header.count(name) > 1:
            raise DataError(f"{path}: two columns have the name '{name}'. Rename one.")
    if not rows:
        raise DataError(f"{path}: lists no utterance. Complete it.")
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} cells where the header has {len(header)}. Correct it.")
    read = [name for name in header if name in required or name in optional]
    columns = {name: [row[header.index(name)].strip() for _line, row in rows] for name in read}
    for name in required:
        if "" in columns[name]:
            line = rows[columns[name].index("")][0]
            raise DataError(f"{path}, line {line}: the column '{name}' is empty. Fill it in.")
    return columns


def check_file_names(ids: Sequence[str], path: str | Path) -> None:
    """Raises DataError, naming the table ``path``, for an utterance whose id cannot be the name of a file."""
    for identifier in ids:
        if identifier in (".", "..") or set(identifier) & set("/\\\0"):
            raise DataError(f"{path}: id '{identifier}' cannot be the name of a file. Rename the utterance.")
