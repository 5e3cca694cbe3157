"""Measure the memory of the jobs that hold a corpus, on synthetic corpora of the real sizes.

Every step runs in a separate process, like a job, on features of the size of IEMOCAP and of CMU-MOSEI. Trainings have
one epoch of one repeat, because more of either needs no more memory. Prints a Markdown table of peaks.
`benchmarks/feature_store.py` measures building features.

Example: .venv/bin/python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import feature_store
import training

REPOSITORY = feature_store.REPOSITORY
ONE_EPOCH = {"constant_epochs": 1, "decay_epochs": 0}


def main() -> None:
    """Generate, run, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "results", help="where to write")
    parser.add_argument("--corpora", nargs="+", choices=training.CORPORA, default=list(training.CORPORA))
    parser.add_argument("--utterances", type=int, help="fewer than the real corpora have")
    arguments = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY / "scripts"))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print("| corpus | features, MB | step | peak, MB |\n|---|---|---|---|")
    for corpus in arguments.corpora:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
            for step, peak in peaks(corpus, Path(folder), arguments.utterances):
                size = (Path(folder) / "features.h5").stat().st_size / 1e6
                print(f"| {corpus} | {size:.0f} | {step} | {peak:.0f} |", flush=True)


def peaks(corpus: str, folder: Path, utterances: int | None):
    """Yield name and peak memory in MB of every step, in the order in which they need each other's files."""
    shape = training.CORPORA[corpus]
    total = utterances or shape.utterances
    share = total / shape.utterances
    sizes = int(shape.training * share), int(shape.validated * share), total
    # In a new process, because a child process counts the memory of its parent.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        features, noisy = pool.submit(training.make_files, folder, corpus, *sizes).result()
    calibration, measured = folder / "calibration.csv", folder / "measured.csv"
    noise = {"dataset": corpus, "noise": "gaussian", "snr_db": -10}
    run = {"dataset": corpus, "noise": "gaussian", "snr_db": -10, "repeats": 1, "evaluation": shape.evaluation}
    yield "calibrate", peak_of("calibrate", noise, features=features, output=calibration)
    corrupted = {key: noise[key] for key in ("dataset", "noise")}
    given = {"features": features, "calibration": calibration, "output": noisy, "measured": measured}
    yield "corrupt", peak_of("corrupt", corrupted, **given, threads=2)
    models = {}
    for system, teacher in (("men", None), ("mmin", "men"), ("two_tower", None), ("nmer", "two_tower")):
        regime = "incomplete" if teacher else "clean"
        models[system] = folder / f"{system}.safetensors"
        settings = run | {"system": system, "regime": regime, "fold": 1, "training": ONE_EPOCH}
        written = {"model": models[system], "history": folder / f"{system}.csv", "checkpoints": folder / "checkpoints"}
        taught = {"teacher": models[teacher]} if teacher else {}
        yield f"train {system}", peak_of("train", settings, features=features, noisy=noisy, **taught, **written)
        if teacher:
            settings = run | {"system": system, "regime": regime, "folds": [1]}
            written = {"scores": folder / "scores.csv", "predictions": folder / "predictions.csv.gz"}
            peak = peak_of("evaluate", settings, features=features, noisy=noisy, models=models[system], **written)
            yield f"evaluate {system}", peak
    written = {"points": folder / "points.csv", "distances": folder / "distances.csv"}
    yield "embed", peak_of("embed", noise, features=features, noisy=noisy, **written)


def peak_of(step: str, settings: dict, **arguments: object) -> float:
    """Return the peak resident memory in MB of a step that runs like a job."""
    command = [sys.executable, REPOSITORY / "scripts" / f"{step}.py", "--settings", json.dumps(settings)]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _pid, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {step}.py failed.")
    return usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
