"""``nmer check-system``: test a system on random batches, in seconds, before it is trained."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EXAMPLES = {
    "check-system": """Examples:
  nmer check-system nmer
  nmer check-system attention_fusion --file examples/attention_fusion/attention_fusion.py
  nmer check-system nmer --options '{"layers": 2}' --dims '{"a": 74, "v": 35, "l": 300}' --classes 2"""
}


def add_arguments(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add the arguments for the system, its options and the shape of the data."""
    parser.add_argument("system", help="name of the system")
    parser.add_argument("--file", type=Path, help="Python file of a user-defined system; it is executed")
    parser.add_argument("--options", default="{}", help="JSON: options of the system")
    parser.add_argument("--dims", help="JSON: width of each modality of the corpus")
    parser.add_argument("--target", default="classes", choices=("classes", "score"), help="what the system predicts")
    parser.add_argument("--classes", type=int, default=4, help="number of classes (default 4)")


def run(arguments: argparse.Namespace) -> None:
    """Print each finding; exit status 1 if something is wrong."""
    from nmer import command
    from nmer.errors import ConfigError
    from nmer.names import MODALITIES, modality_set
    from nmer.plan.reserved import refuse_reserved
    from nmer.plan.variants import OWN_KEYS
    from nmer.systems.registry import systems
    from nmer.training.system_checks import DIMS, check_system

    dims = command.settings(arguments.dims, "--dims") if arguments.dims else DIMS
    if not dims or set(dims) - set(MODALITIES) or not all(type(dim) is int and dim > 0 for dim in dims.values()):
        raise ConfigError(
            '--dims: map each modality (a, v, l) to a width of at least 1, e.g. \'{"a": 12, "v": 10, "l": 14}\'.'
        )
    dims = {modality: dims[modality] for modality in modality_set(dims)}
    if arguments.classes < 2:
        raise ConfigError("--classes: must be at least 2.")
    file = str(arguments.file) if arguments.file else None
    refuse_reserved(systems.declaration(arguments.system, file), OWN_KEYS)
    options = command.settings(arguments.options, "--options")
    findings = check_system(arguments.system, dims, arguments.classes, options, file, arguments.target)
    for finding in findings:
        print(f"{'error' if finding.fatal else 'warning'}: {arguments.system}: {finding.sentence}", file=sys.stderr)
    if any(finding.fatal for finding in findings):
        sys.exit(1)
    if not findings:
        print(f"{arguments.system}: nothing is wrong.")
