"""Add noise at a given SNR to features of your own, without running the workflow.

Two sorts of input:
  - a NumPy file, (utterances, steps, dim) or, of one utterance, (frames, dim), of one modality; the output is the same,
    noisy. Utterances are named by their numbers, or by the lines of --ids;
  - with --layout, a corpus in any layout the workflow reads (docs/data.md); the output is an HDF5 file with, per
    modality, the values that the workflow's cache holds, bit for bit, and their offsets. Neither folds nor speakers are
    needed: columns, lists and splits that only they are read from may be absent.
Prints the calibration. The noise of an utterance depends on --seed, --dataset, its id, modality and kind alone.

Examples:
  python scripts/add_noise.py --input audio.npy --modality a --snr-db -10 --output noisy.npy
  python scripts/add_noise.py --input IEMOCAP_features_2021 --layout iemocap_mmin --dataset iemocap \\
      --noise impulse --snr-db -20 --output iemocap_impulse_-20dB.h5
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.names import MODALITIES
from nmer.noise.registry import noise_kinds
from nmer.noise.schedule import Schedule
from nmer.noisy_embeddings.own_features import corrupt_array, corrupt_corpus


def main() -> None:
    """Parse the arguments, corrupt, print the calibration."""
    parser = command.parser(__doc__, planned=False)
    parser.add_argument("--input", required=True, type=Path, help="features: a .npy file, or with --layout a corpus")
    parser.add_argument(
        "--output", required=True, type=Path, help="noisy features to write: .npy, or with --layout .h5"
    )
    parser.add_argument("--noise", default="gaussian", help="noise kind (default gaussian)")
    parser.add_argument("--options", default="{}", help="options of the kind, as JSON")
    parser.add_argument("--file", help="Python file of your own noise kind")
    parser.add_argument("--snr-db", type=int, help="target SNR in dB; none for a kind without an SNR")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--dataset", default="own", help="name of the dataset, part of the noise's key (default own)")
    parser.add_argument("--mode", default="integer_T", help="integer_T (the paper's) or exact_abar")
    parser.add_argument("--match", default="nominal", help="nominal (the paper's) or effective")
    parser.add_argument("--schedule", default="{}", help="JSON: beta_start, beta_end, shape, chain")
    parser.add_argument("--modality", choices=MODALITIES, help="of a .npy file: a, v or l")
    parser.add_argument("--ids", type=Path, help="of a .npy file: one utterance id a line")
    parser.add_argument("--standardise", action="store_true", help="of a .npy file: noise in units of the spread")
    parser.add_argument("--layout", help="layout of a corpus")
    parser.add_argument("--layout-settings", default="{}", help="JSON: further settings of the dataset (docs/data.md)")
    arguments = parser.parse_args()
    options = command.settings(arguments.options)
    noise_kinds.declaration(arguments.noise, arguments.file).check_options(options, "--options")
    schedule = command.fill(Schedule, command.settings(arguments.schedule), "--schedule")
    (corrupt_corpus if arguments.layout else corrupt_array)(arguments, options, schedule)


if __name__ == "__main__":
    command.run(main)
