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

from nmer import command
from nmer.cli.noise import add_arguments, run


def main() -> None:
    """Parse the arguments, corrupt, print the calibration."""
    parser = command.parser(__doc__, planned=False)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    command.run(main)
