"""Draw the calibration of a dataset: SNR against T for every modality, with the levels that were chosen.

Writes .png, .pdf and the data as .csv.
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.digests import check_digests
from nmer.noise.schedule import Schedule
from nmer.results.figures.calibration import calibration_curves, draw_calibration, read_levels
from nmer.results.style import save_figure


def main() -> None:
    """Read the collected calibration, draw."""
    parser = command.parser(__doc__)
    parser.add_argument("--calibration", required=True, type=Path, help="collected calibration of a dataset, CSV")
    parser.add_argument("--schedule", type=command.settings, required=True, help="JSON: keys of the noise schedule")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()
    schedule = command.fill(Schedule, arguments.schedule, "--schedule")
    check_digests(arguments.calibration)
    curves = calibration_curves(read_levels(arguments.calibration), schedule)
    save_figure(draw_calibration(curves), curves, arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
