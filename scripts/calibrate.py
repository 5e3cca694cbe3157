"""Calibrate the noise level of every modality of a dataset to one target SNR.

For each modality: the T (or the exact alpha_bar) at which features of its variance, corrupted by the closed form
(paper Eq. 3), have the SNR nearest to the target (paper Eq. 4 and 5; SPEC 2.6). Calibrated once per dataset, so that
all folds share the noisy embeddings. A level that misses its target by more than 1 dB is recorded and warned of;
0 dB, which small variances cannot meet with a whole T, is then solved for exactly.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from nmer import command
from nmer.corpora.store import FeatureStore
from nmer.errors import ConfigError
from nmer.files import write_rows
from nmer.names import MODALITIES, corruption_name
from nmer.noise.calibration import CalibrationSettings, calibrate_row
from nmer.noise.registry import noise_kinds, noise_power
from nmer.noise.schedule import LinearSchedule

COLUMNS = ("dataset", "modality", "noise", "snr_db", "variance", "T", "alpha_bar", "attained_db", "effective_db")


def main() -> None:
    """Read the variances, calibrate, write the CSV."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, noise, snr_db, options, schedule, mode, ...")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument("--output", required=True, type=Path, help="calibration CSV to write")
    arguments = parser.parse_args()
    settings = command.fill(CalibrationSettings, command.settings(arguments.settings))
    noise, target = settings.noise, settings.snr_db
    power = noise_power(noise_kinds.load(noise, settings.file), settings.options)
    if power <= 0:
        raise ConfigError(f"noise.kinds.{noise}: this noise has no power, so it has no SNR. Correct its options.")
    schedule = command.fill(LinearSchedule, settings.schedule, "settings.schedule")
    rows = []
    with FeatureStore(arguments.features) as store:
        for modality in MODALITIES:
            variance = store.variance(modality, settings.scope)
            level = calibrate_row(target, variance, schedule, settings.mode)
            if level.misses(target):
                print(
                    f"warning: {settings.dataset}, {modality}, {corruption_name(noise, target)}: the nearest whole T"
                    f" ({level.steps}) gives {level.attained_db:.2f} dB. Consider calibration mode exact_abar.",
                    file=sys.stderr,
                )
            effective = level.attained_db - 10 * math.log10(power)
            steps = "" if level.steps is None else level.steps
            row = (
                settings.dataset,
                modality,
                noise,
                target,
                variance,
                steps,
                level.alpha_bar,
                level.attained_db,
                effective,
            )
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    write_rows(arguments.output, rows)


if __name__ == "__main__":
    command.run(main)
