"""Collect the calibration and the measured SNR of every noise kind and level of a dataset in one table.

The column ``miss`` gives the reason if the SNR of a level is more than 1 dB from its target, as do the warnings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from nmer import command
from nmer.content import converting
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.noise.misses import miss, miss_sentences

KEY = ["dataset", "modality", "noise", "snr_db"]


def main() -> None:
    """Join calibrated and measured rows, and write all levels to one CSV."""
    parser = command.parser(__doc__)
    parser.add_argument("--calibrated", required=True, type=Path, nargs="+", help="calibration CSVs of one dataset")
    parser.add_argument("--measured", required=True, type=Path, nargs="+", help="CSVs of its measured SNR")
    parser.add_argument("--output", required=True, type=Path, help="CSV to write")
    arguments = parser.parse_args()
    check_digests(*arguments.calibrated, *arguments.measured)
    # As text, so that no digit changes.
    calibrated, measured = (
        pd.concat(map(read_texts, paths), ignore_index=True) for paths in (arguments.calibrated, arguments.measured)
    )
    with converting(", ".join(map(str, arguments.calibrated)), "Delete these tables and run again."):
        collected = calibrated.merge(measured, on=KEY, how="left", validate="one_to_one")
    rows = [{str(name): value for name, value in row.items()} for row in collected.to_dict("records")]
    collected["miss"] = [miss(row) for row in rows]
    for sentence in miss_sentences(rows):
        print(f"warning: {sentence}", file=sys.stderr)
    write_text(arguments.output, collected.to_csv(index=False, lineterminator="\n"))


def read_texts(path: Path) -> pd.DataFrame:
    """Read a CSV as text, with the columns KEY first. Raises DataError if it is not a CSV or lacks one of them."""
    with converting(path, "Delete it and run again."):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return table[[*KEY, *(column for column in table if column not in KEY)]]


if __name__ == "__main__":
    command.run(main)
