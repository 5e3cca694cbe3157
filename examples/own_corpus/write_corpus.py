"""Write a tiny corpus in the layout npy_folder: five speakers, three classes, features that differ slightly by class.

Replace the random numbers with your own features and labels; keep the rest.

Example: .venv/bin/python examples/own_corpus/write_corpus.py data/interviews
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

DIMS = {"a": 8, "v": 6, "l": 10}
CLASSES = ("calm", "pleased", "upset")
SPEAKERS = ("anna", "ben", "carl", "dora", "emil")
UTTERANCES_OF_EACH = 18


def main(folder: Path) -> None:
    """Write ``utterances.csv`` and one file (frames, dim) per utterance and modality."""
    generator = np.random.default_rng(0)
    centres = {m: generator.normal(0, 1, (len(CLASSES), dim)) for m, dim in DIMS.items()}
    rows = [("id", "label", "speaker")]
    for speaker in SPEAKERS:
        for number in range(UTTERANCES_OF_EACH):
            label = number % len(CLASSES)
            identifier = f"{speaker}_{number:02d}"
            rows.append((identifier, CLASSES[label], speaker))
            for m, dim in DIMS.items():
                frames = centres[m][label] + generator.normal(0, 1, (generator.integers(6, 15), dim))
                (folder / m).mkdir(parents=True, exist_ok=True)
                np.save(folder / m / f"{identifier}.npy", frames.astype(np.float32))
    with (folder / "utterances.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
