"""Measure extractors on generated films: seconds of media per second and core, and memory.

Each extractor runs in a separate process on one core, like its job in the workflow: it decodes, extracts and writes.
The first film measures the start and the loading of models, which are left out of the speed. Prints a Markdown table.
Needs `make extraction`; the transformer is measured if the folder of a model is given.

Example: .venv/bin/python benchmarks/extraction.py
         .venv/bin/python benchmarks/extraction.py --films 4 --only prosody --model models/bert-large-uncased
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from nmer.extraction.chunk import extract_items
from nmer.extraction.films import VECTORS, write_media
from nmer.extraction.generated import MediaSettings, generated_utterances
from nmer.extraction.preparing import prepare
from nmer.extraction.registry import extractors
from nmer.extraction.step_settings import ExtractSettings

COLUMNS = ("extractor", "dimensions", "seconds of media per second", "ms per utterance", "start, s", "memory, MB")
SECONDS = 4.0
"""Length of a film, about that of an utterance of IEMOCAP."""


def main() -> None:
    """Generate films, measure every extractor in a separate process, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=20, help="films that are timed")
    parser.add_argument("--only", nargs="+", default=[], help="names of the extractors to measure; default all")
    parser.add_argument("--model", type=Path, help="folder of a model, for transformer")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.folder, arguments.films, arguments.model)))
        return
    names = arguments.only or [
        name
        for name in extractors.shipped()
        if not extractors.declaration(name).attributes.get("required") or (name == "transformer" and arguments.model)
    ] + ["glove"]
    with tempfile.TemporaryDirectory() as folder:
        media = Path(folder, "media")
        write_media(media, settings(arguments.films))
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for name in names:
            command = [sys.executable, __file__, "--measure", name, "--folder", media, "--films", str(arguments.films)]
            model = ["--model", arguments.model] if arguments.model else []
            one_core = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            finished = subprocess.run([*command, *model], capture_output=True, text=True, env=one_core, check=True)
            print(f"| {' | '.join(map(str, json.loads(finished.stdout)))} |", flush=True)


def settings(films: int) -> MediaSettings:
    """Return the settings of the films: the timed ones and the first one."""
    return MediaSettings("benchmark", utterances=films + 1, voice="numpy", seconds=SECONDS)


def measure(name: str, media: Path, films: int, model: Path | None) -> list[str]:
    """Measure an extractor and return its row of the table."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    options = {"glove": {"vectors": VECTORS}, "transformer": {"model": str(model and model.resolve())}}.get(name, {})
    modality = extractors.declaration(name).attributes["modality"]
    own = ExtractSettings("benchmark", modality, name, options=options)
    first, *others = generated_utterances(settings(films))
    started = time.perf_counter()
    work, _about = prepare(own, media, media, needed=True)
    (entry,) = extract_items([first], work, media / f"{name}_first.h5")
    start = time.perf_counter() - started
    used = time.process_time()
    extract_items(others, work, media / f"{name}.h5")
    seconds = max(time.process_time() - used, 1e-9)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        name,
        str(entry.values.shape[1]),
        f"{films * SECONDS / seconds:.0f}",
        f"{1000 * seconds / films:.1f}",
        f"{start:.1f}",
        f"{peak:.0f}",
    ]


if __name__ == "__main__":
    main()
