"""Make the noisy embeddings of a dataset at one noise kind and level, once for all folds and systems.

Applies the closed form x_T = sqrt(alpha_bar_T) x_0 + sqrt(1 - alpha_bar_T) eps (paper Eq. 3; SPEC 2.3 to 2.7) to every
utterance and modality, streaming. The noise of an utterance is keyed by names: it depends neither on the order nor on
which other utterances exist.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from nmer import command
from nmer.corpora.store import FeatureStore, create_values
from nmer.files import atomic_path, write_digest
from nmer.names import MODALITIES
from nmer.noise.corruption import CorruptionSettings, NoiseSource, add_noise
from nmer.noise.registry import noise_kinds

BLOCK_UTTERANCES = 256


def main() -> None:
    """Read calibration and features, write the noisy embeddings and their digest."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, noise, seed, options, file")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument("--calibration", required=True, type=Path, help="calibration CSV of this noise and level")
    parser.add_argument("--output", required=True, type=Path, help="HDF5 file of noisy embeddings to write")
    arguments = parser.parse_args()
    settings = command.fill(CorruptionSettings, command.settings(arguments.settings))
    kind = noise_kinds.load(settings.noise, settings.file)
    source = NoiseSource(kind, settings.noise, settings.dataset, settings.seed, settings.options)
    with arguments.calibration.open(newline="") as stream:
        levels = {row["modality"]: row for row in csv.DictReader(stream)}
    with (
        FeatureStore(arguments.features) as store,
        atomic_path(arguments.output) as temporary,
        h5py.File(temporary, "w") as output,
    ):
        output.attrs["settings"] = json.dumps(asdict(settings), sort_keys=True)
        for modality in MODALITIES:
            corrupt_modality(store, output, modality, source, levels[modality])
    write_digest(arguments.output)


def corrupt_modality(store: FeatureStore, output: h5py.File, modality: str, source: NoiseSource, level: dict) -> None:
    """Write one modality's noisy values in blocks of utterances, with T, alpha_bar and the measured SNR."""
    values, offset, space = store.values(modality), store.offset(modality), store.corruption_space(modality)
    alpha_bar = float(level["alpha_bar"])
    noisy = create_values(output, modality, *values.shape)
    power = 0.0
    for first in range(0, len(store.ids), BLOCK_UTTERANCES):
        last = min(first + BLOCK_UTTERANCES, len(store.ids))
        start, stop = int(offset[first]), int(offset[last])
        eps = np.concatenate(
            [
                source.eps(store.ids[i], modality, (int(offset[i + 1] - offset[i]), values.shape[1]))
                for i in range(first, last)
            ]
        )
        power += float(np.square(eps, dtype=np.float64).sum())
        noisy[start:stop] = add_noise(values[start:stop], eps, alpha_bar, space)
    measured = alpha_bar * float(level["variance"]) / ((1 - alpha_bar) * power / values.size)
    noisy.parent.attrs.update(
        {"T": level["T"], "alpha_bar": alpha_bar, "seed": source.seed, "measured_db": 10 * math.log10(measured)}
    )


if __name__ == "__main__":
    command.run(main)
