"""Make the noisy embeddings of a dataset at one noise kind and level, once for all folds and systems.

Applies the closed form x_T = sqrt(alpha_bar_T) x_0 + sqrt(1 - alpha_bar_T) eps (paper Eq. 3; SPEC 2.3 to 2.7) to every
utterance and modality, streaming. The noise of an utterance is keyed by names: it depends neither on the order nor on
which other utterances exist.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from nmer import command
from nmer.corpora.store import FeatureStore
from nmer.corpora.streaming import create_file, create_values, frames_per_block, utterance_blocks
from nmer.files import write_digest
from nmer.names import MODALITIES
from nmer.noise.corruption import CorruptionSettings, NoiseSource, add_noise
from nmer.noise.registry import noise_kinds
from nmer.progress import progress


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
    with FeatureStore(arguments.features) as store, create_file(arguments.output) as output:
        output.attrs["settings"] = json.dumps(asdict(settings), sort_keys=True)
        total = sum(store.values(modality).nbytes for modality in MODALITIES)
        with progress(f"{settings.noise} noise on {settings.dataset}", total) as advance:
            for modality in MODALITIES:
                corrupt_modality(store, output, modality, source, levels[modality], advance)
    write_digest(arguments.output)


def corrupt_modality(
    store: FeatureStore,
    output: h5py.File,
    modality: str,
    source: NoiseSource,
    level: Mapping[str, str],
    advance: Callable[[int], object],
) -> None:
    """Write one modality's noisy values in blocks of utterances, with T, alpha_bar and the measured SNR.

    level: a row of the calibration. advance: called with the number of bytes done.
    """
    values, space, alpha_bar = store.values(modality), store.corruption_space(modality), float(level["alpha_bar"])
    noisy = create_values(output, modality, *values.shape)
    power = 0.0
    for rows, eps in noise_blocks(store, modality, source):
        power += float(np.square(eps, dtype=np.float64).sum())
        noisy[rows] = add_noise(values[rows], eps, alpha_bar, space)
        advance(eps.size * noisy.dtype.itemsize)
    measured = alpha_bar * float(level["variance"]) / ((1 - alpha_bar) * power / values.size)
    noisy.parent.attrs.update(
        {"T": level["T"], "alpha_bar": alpha_bar, "seed": source.seed, "measured_db": 10 * math.log10(measured)}
    )


def noise_blocks(store: FeatureStore, modality: str, source: NoiseSource) -> Iterator[tuple[slice, np.ndarray]]:
    """The noise of a modality in order: rows of its values, and their eps (rows, dim), a block at most."""
    offset, dim = store.offset(modality), store.dims[modality]
    most_frames = frames_per_block(dim)
    for first, last in utterance_blocks(offset, most_frames):
        lengths = np.diff(offset[first : last + 1]).tolist()
        drawn = [source.eps(store.ids[i], modality, (frames, dim)) for i, frames in enumerate(lengths, start=first)]
        eps = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
        # An utterance's noise is drawn at once; where it is longer than a block, it is handed out piece by piece.
        for start in range(0, len(eps), most_frames):
            piece = eps[start : start + most_frames]
            row = int(offset[first]) + start
            yield slice(row, row + len(piece)), piece


if __name__ == "__main__":
    command.run(main)
