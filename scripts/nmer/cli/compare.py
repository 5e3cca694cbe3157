"""``nmer compare``: compare two finished experiments, as Markdown and CSV."""

from __future__ import annotations

import argparse
from pathlib import Path

from nmer.cli.outputs import check_output
from nmer.files import write_text

EXAMPLES = {
    "compare": """Examples:
  nmer compare demo my_experiment
  nmer compare demo my_experiment --metrics UA F1 --csv comparison.csv --markdown comparison.md"""
}


def add_arguments(parser: argparse.ArgumentParser, _name: str = "compare") -> None:
    """Add the arguments for both experiments, their folder and the outputs."""
    parser.add_argument("first", help="name of an experiment whose scores are complete")
    parser.add_argument("second", help="name of the experiment to compare with it")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results (default results)")
    parser.add_argument("--metrics", nargs="+", help="metrics to print (default WA UA, or MAE Corr for scores)")
    parser.add_argument("--csv", type=Path, help="CSV to write, with a row per condition and metric")
    parser.add_argument("--markdown", type=Path, help="file for the Markdown table (default: print it)")


def run(arguments: argparse.Namespace) -> None:
    """Compare the experiments; write the requested files, and print the table unless it is written."""
    from nmer.results.experiments import compare_experiments, recorded_rates, to_markdown
    from nmer.results.labels import use_labels

    for path, option in ((arguments.csv, "--csv"), (arguments.markdown, "--markdown")):
        if path:
            scores = (arguments.results / name / "scores.csv" for name in (arguments.first, arguments.second))
            check_output(path, option, *scores)
    use_labels({}, *(recorded_rates(arguments.results, name) for name in (arguments.first, arguments.second)))
    table, only = compare_experiments(arguments.results, arguments.first, arguments.second)
    text = to_markdown(table, only, arguments.metrics)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False))
    if arguments.markdown:
        write_text(arguments.markdown, text)
    else:
        print(text, end="")
