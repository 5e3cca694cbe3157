"""``nmer noise``: what ``scripts/add_noise.py`` does."""

from __future__ import annotations

import argparse

from nmer.noisy_embeddings import own_features

EXAMPLES = {
    "noise": """Examples:
  nmer noise --input audio.npy --modality a --snr-db -10 --output noisy.npy
  nmer noise --input IEMOCAP_features_2021 --layout iemocap_mmin --dataset iemocap \\
      --noise impulse --snr-db -20 --output iemocap_impulse_-20dB.h5"""
}


def add_arguments(parser: argparse.ArgumentParser, _name: str) -> None:
    """Those of the script."""
    own_features.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Corrupt, print the calibration."""
    own_features.corrupt(arguments)
