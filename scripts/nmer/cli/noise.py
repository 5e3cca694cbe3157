"""``nmer noise``: add noise to custom features, like ``scripts/add_noise.py``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from nmer.cli.outputs import check_output
from nmer.names import MODALITIES, plain_number

EXAMPLES = {
    "noise": """Examples:
  nmer noise --input audio.npy --modality a --snr-db -10 --output noisy.npy
  nmer noise --input IEMOCAP_features_2021 --layout iemocap_mmin --dataset iemocap \\
      --noise impulse --snr-db -20 --output iemocap_impulse_-20dB.h5"""
}


def add_arguments(parser: argparse.ArgumentParser, _name: str = "noise") -> None:
    """Add the arguments for input, output and noise."""
    parser.add_argument("--input", required=True, type=Path, help="features: a .npy file, or with --layout a corpus")
    parser.add_argument(
        "--output", required=True, type=Path, help="noisy features to write: .npy, or with --layout .h5"
    )
    parser.add_argument("--noise", default="gaussian", help="noise kind (default gaussian)")
    parser.add_argument("--options", default="{}", help="options of the kind, as JSON")
    parser.add_argument("--file", help="Python file of a user-defined noise kind")
    parser.add_argument("--snr-db", type=_decibels, help="target SNR in dB; omit for a kind without an SNR")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--dataset", default="own", help="name of the dataset, part of the noise's key (default own)")
    parser.add_argument("--mode", default="integer_T", help="integer_T (the paper's) or exact_abar")
    parser.add_argument("--match", default="nominal", help="nominal (the paper's) or effective")
    parser.add_argument("--schedule", default="{}", help="JSON: beta_start, beta_end, shape, chain")
    parser.add_argument("--modality", choices=MODALITIES, help="for a .npy file: a, v or l")
    parser.add_argument("--ids", type=Path, help="for a .npy file: one utterance id per line")
    parser.add_argument("--standardise", action="store_true", help="for a .npy file: noise in standardised units")
    parser.add_argument("--layout", help="layout of a corpus")
    parser.add_argument("--layout-settings", default="{}", help="JSON: other settings of the dataset (docs/data.md)")


def _decibels(text: str) -> float:
    """Parse an SNR as spelt in names. Raises ArgumentTypeError unless it is a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of decibels, such as -10 or -7.5")
    return plain_number(value)


def run(arguments: argparse.Namespace) -> None:
    """Corrupt the features and print the calibration."""
    from nmer.noisy_embeddings.user_features import corrupt

    check_output(arguments.output, "--output", *filter(None, (arguments.input, arguments.ids)))
    corrupt(arguments)
