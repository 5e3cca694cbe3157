"""Make the noisy embeddings of a dataset at one noise kind and level, shared by all folds and systems.

Applies the closed form x_T = sqrt(alpha_bar_T) x_0 + sqrt(1 - alpha_bar_T) eps (paper Eq. 3; SPEC 2.3 to 2.7) to every
utterance and modality, streaming. A kind without an SNR replaces the features instead. The noise of an utterance is
keyed by names, so it depends neither on the order nor on the other utterances. Also writes the measured SNR.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from nmer import command
from nmer.corpora.store import FeatureStore
from nmer.digests import check_digests, write_digest
from nmer.files import write_rows
from nmer.hdf5_output import create_file
from nmer.noise.calibration_table import read_levels
from nmer.noise.corruption import CorruptionSettings, NoiseSource
from nmer.noise.misses import miss_sentences
from nmer.noisy_embeddings.noisy import MEASURES, corrupt_modality
from nmer.progress import progress


def main() -> None:
    """Read calibration and features, write the noisy embeddings, their digest and their measured SNR."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, noise, seed, kind, options, file, draws")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument("--calibration", required=True, type=Path, help="calibration CSV of this noise and level")
    parser.add_argument("--output", required=True, type=Path, help="HDF5 file of noisy embeddings to write")
    parser.add_argument("--measured", required=True, type=Path, help="CSV of the measured SNR to write")
    parser.add_argument("--threads", type=int, default=1, help="threads that draw noise; their number changes no value")
    arguments = parser.parse_args()
    settings = command.fill(CorruptionSettings, command.settings(arguments.settings))
    check_digests(arguments.features, arguments.calibration)
    source = NoiseSource.from_settings(settings)
    with FeatureStore(arguments.features) as store:
        levels = read_levels(arguments.calibration, source.additive, store.modalities)
        total = settings.draws * sum(store.values(modality).nbytes for modality in store.modalities)
        with (
            create_file(arguments.output, total) as output,
            progress(f"{settings.noise} noise on {settings.dataset}", total) as advance,
        ):
            output.attrs["settings"] = json.dumps(asdict(settings), sort_keys=True)
            measured = {
                m: corrupt_modality(
                    store, output, m, source, levels[m], settings.draws, advance, threads=arguments.threads
                )
                for m in store.modalities
            }
    named = ("dataset", "modality", "noise", "snr_db")
    rows = [
        {name: levels[m][name] for name in named} | dict.fromkeys(MEASURES, "") | values
        for m, values in measured.items()
    ]
    write_rows(arguments.measured, rows)
    for sentence in miss_sentences({**levels[m], **values} for m, values in measured.items()):
        print(f"warning: {sentence}", file=sys.stderr)
    write_digest(arguments.output)


if __name__ == "__main__":
    command.run(main)
