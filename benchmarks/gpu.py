"""Measure how fast a GPU trains the paper's systems, and how many hours the paper's grid takes on it.

Prints four tables for synthetic corpora in the shapes of IEMOCAP and CMU-MOSEI:
  - steps: milliseconds of a training step of 128 utterances of each repeat, as a replayed CUDA graph and without one;
    the cost of three repeats relative to one; a validation pass of all repeats; the GPU's memory;
  - variants of NMER's step on IEMOCAP: other precisions, selection by the loss, ten repeats;
  - jobs: seconds of whole training jobs of two epochs (`scripts/train.py`) on a corpus of the real size, divided into
    their epochs, by the first table, and start-up: imports, data, the teacher's encodings, captures, saving. The same
    for an evaluation of ten folds (`scripts/evaluate.py`);
  - hours of `experiment=paper`, one job after another: steps, validation, start-up, evaluation.

Example: .venv/bin/python benchmarks/gpu.py
         .venv/bin/python benchmarks/gpu.py --device cpu --steps 1 --rounds 1 --systems mmin --repeats 1 3 --no-jobs
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import feature_store
import training
import yaml

STAGES = ("shared", "two_tower", "experts", "contrastive")
PRETRAININGS = ("men", *STAGES)
UNIMODAL = ("unimodal_a", "unimodal_v", "unimodal_l")
TEACHERS = {
    "mmin": "men",
    "if_mmin": "shared",
    "nmer": "two_tower",
    "nmer_no_vae": "two_tower",
    "nmer_no_inv": "two_tower",
    "momke": "experts",
    "cif_mmin": "contrastive",
}
SYSTEMS = (*PRETRAININGS, "mctn", "emt_dlfr", "lnln", *TEACHERS, *UNIMODAL)
STEP_COLUMNS = (
    "corpus",
    "system",
    "repeats",
    "step, ms",
    "without graphs, ms",
    "to one repeat",
    "validation, ms",
    "memory, MB",
)
VARIANT_COLUMNS = ("variant", "step, ms", "validation, ms", "memory, MB")
VARIANTS = {
    "default": {},
    "precision: tf32": {"precision": "tf32"},
    "precision: bfloat16": {"precision": "bfloat16"},
    "selection: loss": {"selection": "loss"},
    "ten repeats": {},
}
JOB_COLUMNS = ("corpus", "job", "whole, s", "epochs, s", "start-up, s")
HOURS_COLUMNS = ("corpus", "system", "jobs", "steps, h", "validation, h", "start-up, h", "all, h")
REPEATS_OF_THE_GRID = 3
JOB_EPOCHS = 2
JOBS = {"iemocap": ("unimodal_l", "men", "mmin", "two_tower", "nmer"), "mosei": ("men", "mmin")}
"""Systems whose start-up is measured; their mean is used for every job of the corpus."""
FOLDS = 10
"""Folds of the measured evaluation, on IEMOCAP; its time is also used for CMU-MOSEI, which has one fold."""


def main() -> None:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=12, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=3, help="epochs that count")
    parser.add_argument("--corpora", nargs="+", choices=training.CORPORA, default=list(training.CORPORA))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--repeats", nargs="+", type=int, default=[1, REPEATS_OF_THE_GRID])
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, default=True, help="also without graphs")
    parser.add_argument("--variants", action=argparse.BooleanOptionalAction, default=True, help="also variants of NMER")
    parser.add_argument("--jobs", action=argparse.BooleanOptionalAction, default=True, help="also whole jobs, hours")
    arguments = parser.parse_args()
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    import torch

    from nmer.devices import compute_device

    gpus = granted_gpus(arguments.device)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    head(STEP_COLUMNS)
    # As in a training job.
    with compute_device(gpus, torch.get_num_threads()) as device:
        for corpus in arguments.corpora:
            shape = training.CORPORA[corpus]
            with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
                files = training.make_files(Path(folder), corpus, training.BATCH * arguments.steps, shape.validated)
                alone: dict[str, float] = {}
                for system, repeats in itertools.product(arguments.systems, arguments.repeats):
                    step, validation, memory = measure(corpus, system, repeats, files, device, arguments)
                    plain = ""
                    if arguments.plain and repeats == REPEATS_OF_THE_GRID:
                        seconds, *_ = measure(corpus, system, repeats, files, device, arguments, graphs="never")
                        plain = f"{1000 * seconds:.4g}"
                    if repeats == 1:
                        alone[system] = step
                    if repeats == REPEATS_OF_THE_GRID:
                        found[corpus, system] = (step, validation)
                    ratio = f"{step / alone[system]:.2f}" if system in alone else ""
                    cells = (f"{1000 * step:.4g}", plain, ratio, f"{1000 * validation:.3g}", f"{memory:.0f}")
                    row(corpus, system, repeats, *cells)
                if arguments.variants and corpus == "iemocap":
                    print_variants(files, device, arguments)
    if arguments.jobs:
        print_jobs_and_hours(found, arguments, gpus)


def granted_gpus(device: str) -> int:
    """Return the number of GPUs of a job; end the benchmark if the machine has none to grant."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: this machine has no GPU that PyTorch can use. Try --device cpu, for the method only.")
    return int(device == "cuda")


def print_variants(files: tuple[Path, Path], device, arguments: argparse.Namespace) -> None:
    """Measure steps of NMER under other settings."""
    head(VARIANT_COLUMNS)
    for name, options in VARIANTS.items():
        repeats = 10 if name == "ten repeats" else REPEATS_OF_THE_GRID
        step, validation, memory = measure("iemocap", "nmer", repeats, files, device, arguments, **options)
        row(name, f"{1000 * step:.4g}", f"{1000 * validation:.3g}", f"{memory:.0f}")


def head(columns: tuple[str, ...]) -> None:
    """Print the head of a Markdown table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def measure(
    corpus: str, system: str, repeats: int, files: tuple[Path, Path], device, arguments, **training_options
) -> tuple[float, float, float]:
    """Return seconds of a step and of a validation pass of all repeats, and megabytes of the GPU's memory."""
    import torch

    from nmer.plan.settings import RunSettings, TrainingSettings
    from nmer.systems.building import build_system
    from nmer.training.data import FoldData
    from nmer.training.stacked import Stacked

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    shape = training.CORPORA[corpus]
    data = FoldData(*files, 1, device)
    regime = "clean" if system in PRETRAININGS else "all_noisy" if system in UNIMODAL else "incomplete"
    options = TrainingSettings(**training_options)
    settings = RunSettings(corpus, system, regime, 1, repeats, evaluation=shape.evaluation, training=options)

    def built(name: str):
        return build_system(name, shape.dims, shape.classes, options.dropout).to(device)

    numbers = list(range(1, repeats + 1))
    teacher = TEACHERS.get(system)
    teachers = {number: built(teacher).requires_grad_(False) for number in numbers} if teacher else {}
    learner = Stacked(lambda: built(system), data, settings, numbers, teachers)
    steps, validations = [], []
    # Two warm-up epochs: the first step runs plainly, and every graph is captured once.
    warming_up, rounds = (1, 1) if options.graphs == "never" else (2, arguments.rounds)
    for epoch in range(warming_up + rounds):
        start = time.perf_counter()
        learner.train_epoch(epoch, options.learning_rate)
        steps.append((time.perf_counter() - start) / arguments.steps)
        start = time.perf_counter()
        learner.validate()
        validations.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return min(steps[warming_up:]), statistics.median(validations[warming_up:]), memory / 1e6


def print_jobs_and_hours(
    found: dict[tuple[str, str], tuple[float, float]], arguments: argparse.Namespace, gpus: int
) -> None:
    """Measure whole jobs on corpora of the real sizes, then print the hours of the grid."""
    start_ups: dict[str, float] = {}
    evaluation = 0.0
    head(JOB_COLUMNS)
    for corpus in arguments.corpora:
        shape = training.CORPORA[corpus]
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as name:
            folder, measured = Path(name), []
            files = training.make_files(folder, corpus, shape.training, shape.validated, shape.utterances)
            for system in JOBS[corpus]:
                step, validation = found[corpus, system]
                epochs = JOB_EPOCHS * (-(-shape.training // training.BATCH) * step + validation)
                whole = run_training(corpus, system, files, folder, folder, gpus, JOB_EPOCHS)
                measured.append(whole - epochs)
                row(corpus, f"train {system}", f"{whole:.1f}", f"{epochs:.1f}", f"{whole - epochs:.1f}")
            start_ups[corpus] = statistics.mean(measured)
            if corpus == "iemocap":
                evaluation = run_evaluation(corpus, files, folder, FOLDS, gpus)
                row(corpus, f"evaluate nmer, {FOLDS} folds", f"{evaluation:.1f}", "", "")
    print_hours(found, start_ups, evaluation)


def run_training(
    corpus: str, system: str, files: tuple[Path, Path], teachers: Path, folder: Path, gpus: int, epochs: int | None
) -> float:
    """Return the seconds of a training job.

    teachers: folder of the model that the system starts from. folder: where to write. epochs: None for the paper's.
    """
    shape, options = training.CORPORA[corpus], paper_training(system)
    if epochs is not None:
        options = dataclasses.replace(options, constant_epochs=epochs, decay_epochs=0)
    regime = "clean" if system in PRETRAININGS else "all_noisy" if system in UNIMODAL else "incomplete"
    settings = {
        "dataset": corpus,
        "system": system,
        "regime": regime,
        "fold": 1,
        "repeats": REPEATS_OF_THE_GRID,
        "evaluation": shape.evaluation,
        "training": dataclasses.asdict(options),
    }
    given = ["--features", files[0]]
    given += ["--noisy", files[1]] if regime != "clean" else []
    given += ["--teacher", teachers / f"{TEACHERS[system]}.safetensors"] if system in TEACHERS else []
    given += ["--model", folder / f"{system}.safetensors", "--history", folder / f"{system}.csv"]
    return run("train.py", settings, *given, "--checkpoints", folder / "checkpoints", "--gpus", gpus)


def run_evaluation(corpus: str, files: tuple[Path, Path], folder: Path, folds: int, gpus: int) -> float:
    """Return the seconds of an evaluation of NMER; the corpus has one fold, which is evaluated several times."""
    settings = {
        "dataset": corpus,
        "system": "nmer",
        "regime": "incomplete",
        "folds": [1] * folds,
        "repeats": REPEATS_OF_THE_GRID,
        "noise": "gaussian",
        "snr_db": -10,
        "evaluation": training.CORPORA[corpus].evaluation,
    }
    given = ["--features", files[0], "--noisy", files[1], "--models", *[folder / "nmer.safetensors"] * folds]
    given += ["--scores", folder / "s.csv", "--predictions", folder / "p.csv.gz"]
    return run("evaluate.py", settings, *given, "--gpus", gpus)


def run(script: str, settings: dict, *given: object) -> float:
    """Return the seconds of a step, called as by a rule. If it fails, end the benchmark with its message."""
    command = [sys.executable, feature_store.REPOSITORY / "scripts" / script, "--settings", json.dumps(settings)]
    start = time.perf_counter()
    finished = subprocess.run([*command, *map(str, given)], stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - start
    messages = "".join(line for line in finished.stderr.splitlines(True) if not line.startswith("epoch "))
    if finished.returncode:
        sys.exit(f"{messages}error: {script} of {settings['system']} ended with exit status {finished.returncode}.")
    print(messages, end="", file=sys.stderr, flush=True)
    return seconds


def paper_training(system: str):
    """Return how the paper trains a system or a stage-A pretraining."""
    from nmer.plan.settings import PRETRAINING, TrainingSettings

    return PRETRAINING if system in STAGES else TrainingSettings()


def print_hours(
    seconds: dict[tuple[str, str], tuple[float, float]], start_ups: dict[str, float], evaluation: float
) -> None:
    """Print the hours of the paper's grid on this device.

    seconds: of steps and validations of three repeats. start_ups: seconds of a job by corpus. evaluation: seconds of
    one evaluation.
    """
    from nmer.plan.plan import Plan

    config = yaml.safe_load((feature_store.REPOSITORY / "config.yaml").read_text())
    for dataset in training.CORPORA:
        # Declared as generated, so the plan looks for no files.
        del config["datasets"][dataset]["path"]
        config["datasets"][dataset]["generate"] = {}
    grid = Plan(config | {"experiment": "paper"})
    counted = Counter((training.dataset, training.system) for training in grid.trainings())
    head(HOURS_COLUMNS)
    total = [0.0] * 4
    for (corpus, system), (step, validation) in seconds.items():
        epochs = paper_training(system).epochs
        steps = -(-training.CORPORA[corpus].training // training.BATCH)
        jobs = counted[corpus, system]
        parts = [jobs * part / 3600 for part in (epochs * steps * step, epochs * validation, start_ups[corpus])]
        total = [one + part for one, part in zip(total, [*parts, sum(parts)], strict=True)]
        row(corpus, system, jobs, *(f"{part:.2f}" for part in [*parts, sum(parts)]))
    evaluations = len(grid.evaluations())
    hours = evaluations * evaluation / 3600
    row("all", "evaluation", evaluations, "", "", "", f"{hours:.2f}")
    trained = f"{sum(counted[key] for key in seconds)} of {sum(counted.values())}"
    row("all", "all", trained, *(f"{part:.2f}" for part in total[:3]), f"{total[3] + hours:.2f}")


if __name__ == "__main__":
    main()
