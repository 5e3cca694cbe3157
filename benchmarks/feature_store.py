"""Measure writing of feature stores and noisy embeddings against the disk's write rate, and their memory.

Generates corpora of the sizes of IEMOCAP and CMU-MOSEI in their native layouts, then times in turn, each in a separate
process:
  - a sequential write of as many bytes as the store has, before each of the others;
  - the feature store, from the corpus' files to the finished store, and only reading the corpus;
  - the feature store of a corpus of the same shape in memory, which needs no reading;
  - the noisy embeddings of one kind, and only drawing as many random numbers.
Every write ends with its content on the disk (fsync). The corpora were just written, so they are in the page cache.
Digests are not timed. Prints a Markdown table: medians, and for ratios, computed per run, also the range.

Example: .venv/bin/python benchmarks/feature_store.py
         .venv/bin/python benchmarks/feature_store.py --scale 0.05 --repeats 1 --folder /tmp
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
MB = 1e6
CORPORA = {
    "iemocap": ("iemocap_mmin", {"utterances": 5531, "frames": {"a": 41, "v": 50, "l": 22}}),
    "mosei": ("mosei_pickle", {"utterances": 22777, "frames": 50}),
}
"""Dataset -> layout, and settings of its synthetic corpus: audio of IEMOCAP's mean length, 46 frames."""
MEMORY_LIMIT_MB = 4000
PICKLE_ALLOWANCE_MB = 1500
COLUMNS = (
    "step",
    "MB",
    "MB/s",
    "input only, MB/s",
    "plain write, MB/s",
    "share of the write rate (range)",
    "peak MB",
    "limit MB",
)


def main() -> None:
    """Generate, measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / "results", help="where to write; removed at the end"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the utterances of the real corpora")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--datasets", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--noise", default="gaussian")
    parser.add_argument("--scripts", type=Path, default=REPOSITORY / "scripts", help="the code to measure")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for dataset in arguments.datasets:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
            for row in measure(dataset, Path(folder), arguments):
                print(f"| {' | '.join(row)} |", flush=True)


def measure(dataset: str, folder: Path, arguments: argparse.Namespace) -> list[list[str]]:
    """Measure a dataset and return its rows."""
    layout, generate = CORPORA[dataset]
    generate = {**generate, "utterances": max(100, round(arguments.scale * generate["utterances"]))}
    settings = {"dataset": dataset, "layout": layout}
    corpus, store, noisy = folder / "corpus", folder / "features.h5", folder / "noisy.h5"
    run_step(arguments.scripts, "generate_corpus.py", {**settings, "generate": generate}, output=corpus)
    pickles = list(corpus.glob("*.pkl"))
    source = pickles[0] if pickles else corpus
    in_process(build, arguments.scripts, settings, source, store)
    noise = {"dataset": dataset, "noise": arguments.noise}
    levels = folder / "levels.csv"
    run_step(arguments.scripts, "calibrate.py", {**noise, "snr_db": -10}, features=store, output=levels)
    size = store.stat().st_size
    given = (arguments.scripts, settings, source)
    plain = (write_plainly, folder / "plain", size)
    steps = {
        "features": (build, *given, store),
        "features, from memory": (build_from_memory, *given, folder / "memory.h5"),
        f"{arguments.noise} noise": (corrupt, arguments.scripts, noise, store, levels, noisy),
    }
    alone = {
        "features": (read, *given),
        f"{arguments.noise} noise": (draw, arguments.scripts, arguments.noise, size // 4),
    }
    limits = dict.fromkeys(steps, MEMORY_LIMIT_MB)
    if pickles:
        limits["features"] = limits["features, from memory"] = source.stat().st_size / MB + PICKLE_ALLOWANCE_MB
    runs = {name: [] for name in steps}
    for _repeat in range(arguments.repeats):
        for name, step in steps.items():
            runs[name].append([in_process(*one) for one in (plain, step, alone.get(name)) if one])
    return [row(f"{dataset}: {name}", size / MB, runs[name], limits[name]) for name in steps]


def row(name: str, megabytes: float, runs: list[list[tuple[float, float]]], limit: float) -> list[str]:
    """Return a row. runs: per repeat (seconds, peak MB) of the plain write, of the step and of only its input."""
    plain, step, *alone = ([megabytes / seconds for seconds, _peak in part] for part in zip(*runs, strict=True))
    shares = [one / other for one, other in zip(step, plain, strict=True)]
    return [
        name,
        f"{megabytes:.0f}",
        f"{statistics.median(step):.0f}",
        *([f"{statistics.median(rates):.0f}" for rates in alone] or ["–"]),
        f"{statistics.median(plain):.0f}",
        f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
        f"{max(run[1][1] for run in runs):.0f}",
        f"{limit:.0f}",
    ]


def run_step(scripts: Path, name: str, settings: dict, **paths: Path) -> None:
    """Run a step script."""
    options = [text for key, path in paths.items() for text in (f"--{key}", str(path))]
    subprocess.run([sys.executable, scripts / name, "--settings", json.dumps(settings), *options], check=True)


def in_process(function: Callable, *given: object) -> tuple[Any, float]:
    """Call a function in a new process; return its result and the peak resident memory in MB."""
    spawn = multiprocessing.get_context("spawn")  # a forked process would include the memory of this one
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_with_peak, function, *given).result()


def _with_peak(function: Callable, *given: object) -> tuple[Any, float]:
    returned = function(*given)
    return returned, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def write_plainly(path: Path, size: int) -> float:
    """Return the seconds to write a new file of random bytes in large pieces."""
    piece = np.random.default_rng(0).bytes(2**24)
    started = time.perf_counter()
    with path.open("wb", buffering=0) as stream:
        for first in range(0, size, len(piece)):
            stream.write(piece[: size - first])
    synchronise(path)
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def build(scripts: Path, settings: dict, source: Path, output: Path) -> float:
    """Return the seconds to read and check a corpus and write its feature store."""
    sys.path.insert(0, str(scripts))
    from nmer.corpora.corpus import CorpusSettings, read_corpus
    from nmer.corpora.store_writer import write_store
    from nmer.corpora.validation import check

    output.unlink(missing_ok=True)
    started = time.perf_counter()
    filled = CorpusSettings.from_mapping(settings)
    with read_corpus(source, filled) as corpus:
        check(corpus, filled)
        write_store(corpus, filled, output)
    synchronise(output)
    return time.perf_counter() - started


def build_from_memory(scripts: Path, settings: dict, source: Path, output: Path) -> float:
    """Return the seconds to write the feature store of random features in the shape of a corpus."""
    sys.path.insert(0, str(scripts))
    from nmer.corpora.corpus import CorpusSettings, read_corpus
    from nmer.corpora.store_writer import write_store

    output.unlink(missing_ok=True)
    filled = CorpusSettings.from_mapping(settings)
    with read_corpus(source, filled) as corpus:
        random = np.random.default_rng(0)
        pool = {m: random.standard_normal((corpus.lengths[m].max(), dim)) for m, dim in corpus.dims.items()}
        lengths = {m: corpus.lengths[m].tolist() for m in pool}
        shaped = dataclasses.replace(corpus, features=lambda m, index: pool[m][: lengths[m][index]])
    started = time.perf_counter()
    write_store(shaped, filled, output)
    synchronise(output)
    return time.perf_counter() - started


def read(scripts: Path, settings: dict, source: Path) -> float:
    """Return the seconds to read a corpus and each of its utterances, and nothing else."""
    sys.path.insert(0, str(scripts))
    from nmer.corpora.corpus import CorpusSettings, read_corpus

    started = time.perf_counter()
    with read_corpus(source, CorpusSettings.from_mapping(settings)) as corpus:
        for modality in corpus.dims:
            for index in range(len(corpus.ids)):
                corpus.features(modality, index)
    return time.perf_counter() - started


def corrupt(scripts: Path, settings: dict, features: Path, calibration: Path, output: Path) -> float:
    """Return the seconds of the step that makes noisy embeddings, without the digest."""
    sys.path.insert(0, str(scripts))
    import corrupt as step

    output.unlink(missing_ok=True)
    measured = output.with_suffix(".measured.csv")
    paths = {"features": features, "calibration": calibration, "output": output, "measured": measured}
    options = [text for key, path in paths.items() for text in (f"--{key}", str(path))]
    sys.argv = ["corrupt.py", "--settings", json.dumps(settings), *options]
    step.write_digest = lambda _path: None
    started = time.perf_counter()
    step.main()
    synchronise(output)
    return time.perf_counter() - started


def draw(scripts: Path, noise: str, count: int) -> float:
    """Return the seconds to draw ``count`` numbers of a noise kind."""
    sys.path.insert(0, str(scripts))
    from nmer.noise.registry import noise_kinds
    from nmer.seeds import generator

    kind, random = noise_kinds.load(noise, None), generator("benchmark")
    started = time.perf_counter()
    for _piece in range(-(-count // 2**20)):
        kind((1024, 1024), random)
    return time.perf_counter() - started


def synchronise(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
