"""Measure how much a training with one thread is slowed down by a second one.

For synthetic corpora in the shapes of IEMOCAP and CMU-MOSEI, NMER and MMIN are trained in separate processes, alone and
next to a second one, in turn. Matrix products show the share of the machine itself: its cores share memory, and may be
halves of one core. Prints a Markdown table: medians, and the range over the rounds.

Example: .venv/bin/python benchmarks/neighbours.py
         .venv/bin/python benchmarks/neighbours.py --rounds 3 --corpora iemocap
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import feature_store
import numpy as np
import training

STEPS = 2
PRODUCTS = 100
WORKS = ("nmer", "mmin", "products")
COLUMNS = ("corpus", "work", "parallel to single, wall time", "CPU time")


def main() -> None:
    """Generate, measure, print, clean up; or, as one of the processes, work and print the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--corpora", nargs="+", choices=training.CORPORA, default=list(training.CORPORA))
    parser.add_argument("--work", nargs=3, metavar=("WORK", "CORPUS", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    if arguments.work:
        work(*arguments.work)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for corpus in arguments.corpora:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
            training.make_files(Path(folder), corpus, training.BATCH * STEPS, training.BATCH)
            alone, beside = {name: [] for name in WORKS}, {name: [] for name in WORKS}
            for _round, name in itertools.product(range(arguments.rounds), WORKS):
                alone[name] += times([name, corpus, folder], 1)
                beside[name].append(np.mean(times([name, corpus, folder], 2), axis=0))
            for name in WORKS:
                wall, cpu = (np.array(beside[name]) / np.array(alone[name])).T
                print(f"| {corpus} | {name} | {middle(wall)} | {middle(cpu)} |", flush=True)


def middle(ratios: np.ndarray) -> str:
    """Return median and range with two decimals, because the target is a loss of one in fifteen."""
    return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"


def times(given: list[str], processes: int) -> list[list[float]]:
    """Return wall and CPU seconds of each of several processes that work at the same time."""
    command = [sys.executable, __file__, "--work", *given]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in running:
        process.stdout.readline()
    for process in running:
        process.stdin.close()
    return [[float(number) for number in process.stdout.read().split()] for process in running]


def work(name: str, corpus: str, folder: str) -> None:
    """Print that all is ready, wait for the signal, work, and print wall and CPU seconds."""
    import torch

    from nmer.systems.building import build_system
    from nmer.training.data import FoldData

    torch.set_num_threads(1)
    shape = training.CORPORA[corpus]
    if name == "products":
        first, second = torch.randn(2560, 1024), torch.randn(1024, 1024)

        def job() -> None:
            for _ in range(PRODUCTS):
                first @ second
    else:
        data = FoldData(Path(folder) / "features.h5", Path(folder) / "noisy.h5", 1, torch.device("cpu"))
        teacher = build_system(training.TEACHERS[name], shape.dims, shape.classes, 0.5).requires_grad_(False)

        def job() -> None:
            training.train(corpus, name, data, teacher, 2)

    print("ready", flush=True)
    sys.stdin.read()
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    print(time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    main()
