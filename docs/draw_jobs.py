"""Draw the order in which the jobs of an experiment run, as docs/pictures/jobs.svg; run after rules change.

    python docs/draw_jobs.py

Reads the graph of rules of the demo from Snakemake. An arrow that other arrows imply is left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from layered import drawing

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURE = REPOSITORY / "docs" / "pictures" / "jobs.svg"
LEFT_OUT = {"all", "sizes_table"}
"""Rules that are not drawn: the target, and the table of sizes, which reads only the features."""


def read_by() -> dict[str, set[str]]:
    """Return the rules of the demo -> the rules that read their files, as planned in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.executable).with_name("snakemake"), "--snakefile", REPOSITORY / "Snakefile"]
        command += ["--directory", folder, "--rulegraph", "--config", "experiment=demo"]
        graph = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'(\d+)\[label = "([^"\\]+)', graph))
    arrows: dict[str, set[str]] = {name: set() for name in names.values() if name not in LEFT_OUT}
    for upper, lower in re.findall(r"(\d+) -> (\d+)", graph):
        if not {names[upper], names[lower]} & LEFT_OUT:
            arrows[names[upper]].add(names[lower])
    return arrows


def picture() -> str:
    """Return the drawing as SVG."""
    return drawing(read_by(), "Order of the jobs of an experiment, from the corpus to the report")


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
