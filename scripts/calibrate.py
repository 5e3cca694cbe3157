"""Calibrate the noise level of every modality of a dataset to one target SNR.

For each modality, finds the T (or the exact alpha_bar) at which features of its variance, corrupted by the closed form
(paper Eq. 3), have the SNR nearest to the target (paper Eq. 4 and 5; SPEC 2.6). Calibration is per dataset, so all
folds share the noisy embeddings. A level that misses its target by more than 1 dB is recorded with a warning. At small
variances no integer T reaches 0 dB; it is then solved exactly. A kind without an SNR (settings without snr_db) also has
a row per modality, which holds only the variance.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nmer import command
from nmer.corpora.store import FeatureStore
from nmer.digests import check_digests
from nmer.files import write_rows
from nmer.noise.calibration import CalibrationSettings
from nmer.noise.calibration_table import calibration_rows
from nmer.noise.schedule import Schedule


def main() -> None:
    """Read the variances, calibrate, write the CSV."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, noise, snr_db, options, schedule, mode, ...")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument("--output", required=True, type=Path, help="calibration CSV to write")
    arguments = parser.parse_args()
    settings = command.fill(CalibrationSettings, command.settings(arguments.settings))
    schedule = command.fill(Schedule, settings.schedule, "settings.schedule")
    check_digests(arguments.features)
    with FeatureStore(arguments.features) as store:
        variances = {modality: store.variance(modality, settings.scope) for modality in store.modalities}
    rows, warnings = calibration_rows(settings, variances, schedule)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    write_rows(arguments.output, rows)


if __name__ == "__main__":
    command.run(main)
