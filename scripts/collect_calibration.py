"""Collect the calibration and the measured SNR of every noise kind and level of a dataset in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nmer import command
from nmer.files import write_text

KEY = ["dataset", "modality", "noise", "snr_db"]


def main() -> None:
    """Join the CSVs row by row and write them one below the other."""
    parser = command.parser(__doc__)
    parser.add_argument("--calibrated", required=True, type=Path, nargs="+", help="calibration CSVs of one dataset")
    parser.add_argument("--measured", required=True, type=Path, nargs="+", help="CSVs of the measured SNR, likewise")
    parser.add_argument("--output", required=True, type=Path, help="CSV to write")
    arguments = parser.parse_args()
    # As text, so that no digit changes.
    calibrated, measured = (
        pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths], ignore_index=True)
        for paths in (arguments.calibrated, arguments.measured)
    )
    collected = calibrated.merge(measured, on=KEY, how="left", validate="one_to_one")
    write_text(arguments.output, collected.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    command.run(main)
