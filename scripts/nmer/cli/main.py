# PYTHON_ARGCOMPLETE_OK
"""NMER: multimodal emotion recognition under noise. Runs the workflow, and its noise and trained systems separately."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

import argcomplete

import nmer
from nmer import command

SUBCOMMANDS = {
    "run": ("workflow", "run an experiment of the workflow with Snakemake"),
    "status": ("workflow", "show progress and the estimated time left"),
    "report": ("workflow", "render the report of an unfinished experiment"),
    "compare": ("compare", "compare the scores of two finished experiments"),
    "noise": ("noise", "add noise at a given SNR to custom features"),
    "predict": ("predict", "apply a trained system to new features"),
    "check-corpus": ("check_corpus", "read a corpus as the workflow would and report faults"),
    "check-system": ("check_system", "test a system on random batches, in seconds"),
}
"""Sub-command -> module of this package, one line of help. A command imports its libraries when it runs."""


def main() -> None:
    """Parse and run; a user's error prints one line with exit status 1, wrong usage has exit status 2."""
    command.run(_run)


def _run() -> None:
    parser = argparse.ArgumentParser(
        prog="nmer",
        description=__doc__,
        epilog="nmer SUBCOMMAND --help shows the arguments of a sub-command, and examples.",
    )
    parser.add_argument("--version", action="version", version=f"nmer {nmer.__version__}")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for name, (module, text) in SUBCOMMANDS.items():
        loaded = import_module(f"nmer.cli.{module}")
        own = subparsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=loaded.EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        loaded.add_arguments(own, name)
        own.set_defaults(run=loaded.run)
    argcomplete.autocomplete(parser)  # answers completion requests of the shell (docs/command.md)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:end])
    arguments.further = words[end + 1 :]
    if arguments.further and arguments.subcommand != "run":
        parser.error(f"unrecognized arguments: {' '.join(arguments.further)}")
    arguments.run(arguments)


if __name__ == "__main__":
    main()
