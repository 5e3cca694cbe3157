"""Summarise the validation reports of feature stores, next to the paper's figures."""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.content import converting
from nmer.corpora.validation import summary
from nmer.digests import check_digests
from nmer.files import read_json


def main() -> None:
    """Print one summary per report."""
    parser = command.parser(__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="reports as build_features.py writes them (.json)")
    for path in parser.parse_args().reports:
        check_digests(path)
        described = read_json(path)
        with converting(path, "Delete it and run again."):
            text = summary(described)
        print(text)


if __name__ == "__main__":
    command.run(main)
