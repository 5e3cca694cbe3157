"""Test a user-defined system on random batches before it is trained.

Runs the user's code, which the plan never does. Anything that would fail in training ends the step with an error;
anything that only costs time is a warning in the log.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nmer import command
from nmer.devices import compute_device
from nmer.errors import ConfigError
from nmer.files import write_text
from nmer.names import ALL_CLEAN, CLASSES
from nmer.training.system_checks import DIMS, check_system


def main() -> None:
    """Check the system and write the result."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: system, file, options, modalities, target, teacher")
    parser.add_argument("--output", required=True, type=Path, help="text file to write if nothing is wrong")
    arguments = parser.parse_args()
    settings = command.settings(arguments.settings)
    named = {
        "options": settings.get("options", {}),
        "file": settings.get("file"),
        "target": settings.get("target", CLASSES),
        "teacher": settings.get("teacher"),
    }
    with compute_device(gpus=0, threads=1):
        findings = [
            finding
            for modalities in settings.get("modalities", [ALL_CLEAN])
            for finding in check_system(settings["system"], {m: DIMS[m] for m in modalities}, **named)
        ]
    for finding in findings:
        if not finding.fatal:
            print(f"warning: {settings['system']}: {finding.sentence}", file=sys.stderr)
    if wrong := list(dict.fromkeys(finding.sentence for finding in findings if finding.fatal)):
        raise ConfigError(f"{settings['file']}: system '{settings['system']}': {' '.join(wrong)}")
    write_text(arguments.output, f"{settings['system']}: nothing is wrong.\n")


if __name__ == "__main__":
    command.run(main)
