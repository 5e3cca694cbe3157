"""Collect the calibration of every noise kind and level of a dataset in one table, for the report."""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.files import write_text


def main() -> None:
    """Concatenate the CSVs, with one header."""
    parser = command.parser(__doc__)
    parser.add_argument("--inputs", required=True, type=Path, nargs="+", help="calibration CSVs of one dataset")
    parser.add_argument("--output", required=True, type=Path, help="CSV to write")
    arguments = parser.parse_args()
    tables = [path.read_text(encoding="utf-8").splitlines(keepends=True) for path in arguments.inputs]
    write_text(arguments.output, "".join([tables[0][0], *(line for table in tables for line in table[1:])]))


if __name__ == "__main__":
    command.run(main)
