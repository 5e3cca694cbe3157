"""Add noise at a given SNR to custom features, without running the workflow.

Two kinds of input:
  - a NumPy file of one modality, (utterances, steps, dim), or (frames, dim) for a single utterance. The output has the
    same shape. Utterances are named by number, or by the lines of --ids;
  - with --layout, a corpus in any layout the workflow reads (docs/data.md). The output is an HDF5 file that holds, per
    modality, the offsets and the same values, bit for bit, as the workflow's cache. Folds and speakers are not needed:
    the columns, lists and splits that define them may be absent.
Prints the calibration. The noise of an utterance depends only on --seed, --dataset, its id, modality and kind.

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
