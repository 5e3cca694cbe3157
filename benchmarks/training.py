"""Measure training and validation of every system against a plain form and the machine's matrix products.

For synthetic corpora in the shapes of IEMOCAP (durations log-normal, median 3.6 s at 10 frames a second) and CMU-MOSEI,
with one thread and two, epochs of NMER and MMIN in the workflow and in ``plain_training.py`` take turns in one process
on the same utterances. The other systems have no plain form and are measured individually:
  - step: CPU time of a training step of 128 utterances with known teacher targets, in seconds and relative to plain;
  - step to its floor: relative to the time of its matrix products, as counted by the framework, at this machine's rate;
  - validation: CPU time of a validation pass, every utterance under six conditions (CMU-MOSEI: under one);
  - epoch: CPU time of the real numbers of steps and of validated utterances, computed from the two.
First, the gradients of the two forms are compared on one batch without dropout and with padding masked. A separate
table measures the start of a training on a corpus of the real size, in a new process: CPU time from the end of its
imports to its first step and to the end of that step, compared with only reading the clean features, and its peak
memory with a validation pass. A third table compares the steps of all systems with MMIN's; they take turns in one
process with one thread. Prints Markdown tables: medians, and the range over the rounds.

Example: .venv/bin/python benchmarks/training.py
         .venv/bin/python benchmarks/training.py --rounds 2 --systems nmer --corpora iemocap --threads 1
         .venv/bin/python benchmarks/training.py --scripts ../earlier/scripts
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import feature_store
import numpy as np

IEMOCAP_DIMS = {"a": 130, "v": 342, "l": 1024}
MOSEI_DIMS = {"a": 74, "v": 35, "l": 300}


class Shape(NamedTuple):
    """A corpus. training, validated: utterances of an epoch. frames: of every modality, None for log-normal ones."""

    dims: dict[str, int]
    frames: dict[str, int | None]
    classes: int
    utterances: int
    training: int
    validated: int
    evaluation: str
    standardised: tuple[str, ...]


CORPORA = {
    "iemocap": Shape(IEMOCAP_DIMS, {"a": None, "v": 50, "l": 22}, 4, 5531, 4446, 528, "every_condition", ("a",)),
    "mosei": Shape(MOSEI_DIMS, dict.fromkeys("avl", 50), 2, 22777, 16265, 1869, "one_condition", ()),
}
TEACHERS = {
    "nmer": "two_tower",
    "mmin": "men",
    "if_mmin": "shared",
    "mctn": None,
    "emt_dlfr": None,
    "momke": "experts",
    "lnln": None,
    "cif_mmin": "contrastive",
}
COMPARED_WITH = "mmin"
PLAIN = ("nmer", "mmin")
BATCH = 128
MEASURED_STEPS = 2
MEASURED_VALIDATION = 128
WARMING_UP = 2
"""Warm-up rounds: one in which the teacher encodes, one in which operations are counted."""
MEDIAN_FRAMES, SPREAD, MOST_FRAMES = 36, 0.7, 340
"""Log-normal durations with a median of 3.6 s at 10 frames per second: mean 46 frames, a batch's longest some 209."""
COLUMNS = (
    "corpus",
    "system",
    "threads",
    "step, s",
    "step, plain to ours",
    "wall time",
    "step to its floor",
    "validation, plain to ours",
    "epoch, plain to ours",
    "GFLOP per step",
    "gradients differ by",
)
RATIO_COLUMNS = ("corpus", "system", "step, s", f"to {COMPARED_WITH}'s step", "GFLOP per step", "to its operations")
START_COLUMNS = (
    "corpus",
    "system",
    "features, MB",
    "to the first step, s",
    "to its end, s",
    "plain reading relative to the latter",
    "peak MB",
    "peak MB of two batches",
)


def main() -> None:
    """Generate, measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each way")
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--systems", nargs="+", choices=TEACHERS, default=list(TEACHERS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--scripts", type=Path, default=feature_store.REPOSITORY / "scripts", help="the code to measure"
    )
    parser.add_argument("--tables", nargs="+", choices=("speed", "start", "ratios"), default=["speed", "start"])
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.scripts))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    # First, because a child process counts the memory of its parent.
    if "start" in arguments.tables:
        print(f"| {' | '.join(START_COLUMNS)} |\n|{'---|' * len(START_COLUMNS)}")
        for corpus in arguments.corpora:
            shape = CORPORA[corpus]
            with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
                files = make_files(Path(folder), corpus, shape.training, shape.validated, shape.utterances)
                (Path(folder) / "few").mkdir()
                few = make_files(Path(folder) / "few", corpus, BATCH, BATCH)
                for system in arguments.systems:
                    row = measure_start(corpus, system, files, few, arguments.scripts)
                    print(f"| {' | '.join(row)} |", flush=True)
    if "speed" in arguments.tables:
        print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for corpus in arguments.corpora:
            with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
                files = make_files(Path(folder), corpus, BATCH * MEASURED_STEPS, MEASURED_VALIDATION)
                for system, threads in itertools.product(arguments.systems, arguments.threads):
                    row = measure(corpus, system, threads, files, arguments.rounds)
                    print(f"| {' | '.join(row)} |", flush=True)
    if "ratios" in arguments.tables:
        print(f"\n| {' | '.join(RATIO_COLUMNS)} |\n|{'---|' * len(RATIO_COLUMNS)}")
        for corpus in arguments.corpora:
            with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
                files = make_files(Path(folder), corpus, BATCH, 1)
                for row in measure_ratios(corpus, arguments.systems, files, arguments.rounds):
                    print(f"| {' | '.join(row)} |", flush=True)


def make_files(folder: Path, name: str, training: int, validated: int, total: int | None = None) -> tuple[Path, Path]:
    """Write a feature store and noisy embeddings of random features; return both paths."""
    from nmer.corpora.corpus import Corpus, CorpusSettings
    from nmer.corpora.store_writer import write_store
    from nmer.corpora.streaming import create_values
    from nmer.digests import write_digest
    from nmer.hdf5_output import create_file

    shape, random = CORPORA[name], np.random.default_rng(0)
    count = total or training + validated
    drawn = np.clip(np.round(MEDIAN_FRAMES * np.exp(SPREAD * random.standard_normal(count))), 1, MOST_FRAMES)
    lengths = {
        m: drawn.astype(np.int64) if frames is None else np.full(count, frames) for m, frames in shape.frames.items()
    }
    # All utterances use one pool of frames, because drawing each individually takes long.
    pool = {m: random.standard_normal((20_000, dim), dtype=np.float32) for m, dim in shape.dims.items()}

    def features(modality: str, index: int, shift: int = 0) -> np.ndarray:
        start = (index * 37 + shift) % (20_000 - MOST_FRAMES)
        return pool[modality][start : start + lengths[modality][index]]

    everyone = np.arange(count)
    fold = {
        "train": everyone[:training],
        "val": everyone[training : training + validated],
        "test": everyone[training + validated :] if total else everyone[-1:],
    }
    corpus = Corpus(
        ids=[f"u{index}" for index in everyone],
        labels=everyone % shape.classes,
        speakers=["s"] * count,
        classes=[f"class{number}" for number in range(shape.classes)],
        dims=shape.dims,
        lengths=lengths,
        folds={1: fold},
        features=features,
    )
    store, noisy = folder / "features.h5", folder / "noisy.h5"
    write_store(corpus, CorpusSettings(name, "iemocap_mmin", standardize=shape.standardised), store)
    with create_file(noisy) as file:
        for m, dim in shape.dims.items():
            values = create_values(file, m, int(lengths[m].sum()), dim)
            offset = np.concatenate([[0], lengths[m].cumsum()])
            for first in range(0, count, 64):
                block = range(first, min(first + 64, count))
                values[offset[block[0]] : offset[block[-1] + 1]] = np.concatenate(
                    [0.45 * features(m, index) + 0.9 * features(m, index, 9_999) for index in block]
                )
    write_digest(store)
    write_digest(noisy)
    return store, noisy


def measure(name: str, system: str, threads: int, files: tuple[Path, Path], rounds: int) -> list[str]:
    """Return a row of the first table."""
    import torch

    from nmer.names import SIX_CONDITIONS
    from nmer.plan.conditions import fixed_condition
    from nmer.training.data import FoldData
    from nmer.training.one_by_one import OneByOne

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape = CORPORA[name]
    data = FoldData(*files, 1, torch.device("cpu"))
    plain = plain_training(system, shape, files[0], data.labels) if system in PLAIN else None
    rows, validated = data.splits["train"].tolist(), data.splits["val"].tolist()
    if shape.evaluation == "every_condition":
        conditions = [list(SIX_CONDITIONS)] * len(validated)
    else:
        conditions = [[fixed_condition(name, data.ids[row])] for row in validated]
    teacher = frozen_teacher(system, shape)
    difference = f"{compare_gradients(name, system):.0e}" if plain else "–"
    times: dict[str, list] = {"our step": [], "our pass": [], "plain step": [], "plain pass": []}
    operations, rates = [], []
    original = {"epoch": OneByOne.train_epoch, "pass": OneByOne.validate}

    def epoch(*given):
        if len(operations) < WARMING_UP:
            with counting() as counter:
                losses = original["epoch"](*given)
            operations.append(counter.get_total_flops() / MEASURED_STEPS)
        else:
            rates.append(matrix_rate())
            losses = timed(times["our step"], original["epoch"], *given)
        if plain:
            timed(times["plain step"], plain.epoch, rows[: BATCH if len(operations) < WARMING_UP else None], BATCH)
        return losses

    def validation(*given):
        scores = timed(times["our pass"], original["pass"], *given)
        if plain and len(times["our pass"]) > WARMING_UP:
            timed(times["plain pass"], plain.validate, conditions, validated, BATCH)
        return scores

    OneByOne.train_epoch, OneByOne.validate = epoch, validation
    try:
        train(name, system, data, teacher, WARMING_UP + rounds)
    finally:
        OneByOne.train_epoch, OneByOne.validate = original["epoch"], original["pass"]
    cpu, wall = (
        {way: np.array([pair[clock] for pair in pairs[-rounds:]]) for way, pairs in times.items()} for clock in (0, 1)
    )
    floor = operations[-1] / np.median(rates)

    def ratio(ours: np.ndarray, others: np.ndarray) -> str:
        return middle(others / ours) if plain else "–"

    def whole(way: str) -> np.ndarray:
        steps, passes = cpu[f"{way} step"] / MEASURED_STEPS, cpu[f"{way} pass"] / MEASURED_VALIDATION
        epoch: np.ndarray = steps * shape.training / BATCH + passes * shape.validated
        return epoch

    return [
        name,
        system,
        str(threads),
        f"{np.median(cpu['our step']) / MEASURED_STEPS:.2f}",
        ratio(cpu["our step"], cpu["plain step"]),
        ratio(wall["our step"], wall["plain step"]),
        middle(cpu["our step"] / MEASURED_STEPS / floor),
        ratio(cpu["our pass"], cpu["plain pass"]),
        ratio(whole("our"), whole("plain")),
        f"{operations[-1] / 1e9:.0f}",
        difference,
    ]


def measure_ratios(name: str, systems: list[str], files: tuple[Path, Path], rounds: int) -> list[list[str]]:
    """Return the rows of the third table: CPU time of a step of every system, measured in turn."""
    import torch

    from nmer.training.data import FoldData

    torch.set_num_threads(1)
    shape, data = CORPORA[name], FoldData(*files, 1, torch.device("cpu"))
    systems = list(dict.fromkeys([COMPARED_WITH, *systems]))
    learners = {system: make_learner(name, system, data, frozen_teacher(system, shape), 1)[0] for system in systems}
    operations: dict[str, int] = {}
    times: dict[str, list] = {system: [] for system in systems}
    for epoch in range(1 + rounds):
        for system, learner in learners.items():
            if not epoch:  # in which the teacher encodes
                learner.train_epoch(0, 2e-4)
                with counting() as counter:
                    learner.train_epoch(0, 2e-4)
                operations[system] = counter.get_total_flops()
            else:
                timed(times[system], learner.train_epoch, epoch, 2e-4)
    seconds = {system: np.array([cpu for cpu, _wall in pairs]) for system, pairs in times.items()}
    return [
        [
            name,
            system,
            f"{np.median(own):.2f}",
            middle(own / seconds[COMPARED_WITH]),
            f"{operations[system] / 1e9:.0f}",
            f"{operations[system] / operations[COMPARED_WITH]:.1f}",
        ]
        for system, own in seconds.items()
    ]


def frozen_teacher(system: str, shape: Shape):
    """Return the untrained teacher that a system starts from, or None."""
    from nmer.systems.building import build_system

    stage = TEACHERS[system]
    return build_system(stage, shape.dims, shape.classes, 0.5).requires_grad_(False) if stage else None


def plain_training(system: str, shape: Shape, features: Path, labels):
    """Return the plain form of a system on the same utterances."""
    from plain_training import PlainTraining, plain_system

    from nmer.corpora.store import FeatureStore

    with FeatureStore(features) as store:
        utterances = plain_reading(store)
    of_teacher, of_system = (plain_system(each, shape.dims, shape.classes) for each in (TEACHERS[system], system))
    return PlainTraining(of_system, of_teacher, system == "mmin", utterances, labels)


def train(name: str, system: str, data, teacher, epochs: int, batch_size: int = BATCH) -> None:
    """Train like the workflow."""
    from nmer.training.loop import fit

    fit(*make_learner(name, system, data, teacher, epochs, batch_size))


def make_learner(name: str, system: str, data, teacher, epochs: int, batch_size: int = BATCH):
    """Return the learner of one repeat, and its settings."""
    from nmer.plan.settings import RunSettings, TrainingSettings
    from nmer.systems.building import build_system
    from nmer.training.one_by_one import OneByOne

    shape = CORPORA[name]
    settings = RunSettings(
        dataset=name,
        system=system,
        regime="incomplete",
        fold=1,
        repeats=1,
        evaluation=shape.evaluation,
        training=TrainingSettings(constant_epochs=epochs, decay_epochs=0, batch_size=batch_size),
    )

    def build():
        return build_system(system, shape.dims, shape.classes, 0.5)

    return OneByOne(build, data, settings, 1, teacher), settings


def timed(times: list, function, *given):
    """Call a function and record CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function(*given)
    times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return result


@contextmanager
def counting():
    """Count the operations of matrix products, including those that write into a given output."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def product(_added, first, second, **_given) -> int:
        return 2 * math.prod(first) * second[-1]

    places = {torch.ops.aten.addmm_: product, torch.ops.aten.baddbmm_: product}
    with FlopCounterMode(display=False, custom_mapping=places) as counter:
        yield counter


def matrix_rate() -> float:
    """Return floating-point operations per CPU second of products of a batch's tokens and a tower's filters."""
    import torch

    first, second = torch.randn(2560, 1024), torch.randn(1024, 1024)
    times: list = []
    for _ in range(5):
        timed(times, torch.mm, first, second)
    return 2 * 2560 * 1024 * 1024 / statistics.median(cpu for cpu, _wall in times[1:])


def compare_gradients(name: str, system: str) -> float:
    """Return the largest relative difference between the gradients of the two forms, over the system's parameters.

    Uses double precision, because in single precision rounding may decide which of two almost equal windows is the
    maximum."""
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        return gradients_differ_by(name, system)
    finally:
        torch.set_default_dtype(torch.float32)


def gradients_differ_by(name: str, system: str) -> float:
    """Compare like :func:`compare_gradients`, in the current precision."""
    import torch
    from plain_training import copy_weights, ordered, plain_system
    from torch import nn

    from nmer.systems.building import build_system
    from nmer.systems.interface import Batch, Sequences

    shape = CORPORA[name]
    options = {"transformer_dropout": 0.0} if system == "nmer" else {}
    ours = build_system(system, shape.dims, shape.classes, 0.0, options)
    plain = plain_system(system, shape.dims, shape.classes, 0.0, **options)
    copy_weights(ours, plain)
    for part in [*ours.modules(), *plain.modules()]:
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    for part in plain.modules():
        if hasattr(part, "masked"):
            part.masked = True
    random = torch.Generator().manual_seed(1)
    observed = {}
    for m, dim in shape.dims.items():
        lengths = torch.full((32,), shape.frames[m] or 0)
        if shape.frames[m] is None:
            lengths = (36 * (0.7 * torch.randn(32, generator=random)).exp()).long().clamp(1, MOST_FRAMES)
        values = torch.randn(32, int(lengths.max()), dim, generator=random)
        sequences = Sequences(values, lengths)
        observed[m] = Sequences(values * sequences.valid()[:, :, None], lengths)
    width = 256 if system == "nmer" else 128
    targets = {m: torch.randn(32, width, generator=random) for m in shape.dims}
    flags = {m: torch.arange(32) % 2 == number % 2 for number, m in enumerate(shape.dims)}
    batch = Batch(observed, torch.arange(32) % shape.classes, flags, targets, targets)
    for each in (ours, plain):
        torch.manual_seed(2)
        sum(each.loss(each(batch), batch).values()).backward()
    return max(
        float((one.grad - other.grad.view(one.grad.shape)).norm() / other.grad.norm())
        for one, other in zip(ordered(ours, plain), plain.parameters(), strict=True)
        if other.grad is not None and float(other.grad.norm()) > 0
    )


def plain_reading(store) -> dict[str, list]:
    """Return every clean utterance as a separate tensor, normalised."""
    import torch

    utterances = {}
    for m in store.dims:
        mean, std = store.normalisation(1, m) or (0.0, 1.0)
        read = [(store.utterance(m, index) - mean) / std for index in range(len(store.ids))]
        utterances[m] = [torch.tensor(frames, dtype=torch.float32) for frames in read]
    return utterances


def measure_start(name: str, system: str, files: tuple[Path, Path], few: tuple[Path, Path], scripts: Path) -> list[str]:
    """Return a row of the second table. few: files of a corpus of two batches."""
    reading, _peak = feature_store.in_process(read_plainly, files, scripts)
    (before, through), peak = feature_store.in_process(start, name, system, files, scripts)
    _start, alone = feature_store.in_process(start, name, system, few, scripts)
    return [
        name,
        system,
        f"{sum(path.stat().st_size for path in files) / feature_store.MB:.0f}",
        f"{before:.1f}",
        f"{through:.1f}",
        f"{reading / through:.1f}",
        f"{peak:.0f}",
        f"{alone:.0f}",
    ]


def read_plainly(files: tuple[Path, Path], scripts: Path) -> float:
    """Return the CPU seconds of reading a store utterance by utterance."""
    sys.path.insert(0, str(scripts))
    from nmer.corpora.store import FeatureStore

    started = time.process_time()
    with FeatureStore(files[0]) as store:
        plain_reading(store)
    return time.process_time() - started


def start(name: str, system: str, files: tuple[Path, Path], scripts: Path) -> tuple[float, float]:
    """Return the CPU seconds from the end of the imports to the first step and to its end; then validate once."""
    sys.path.insert(0, str(scripts))
    import torch

    from nmer.training import one_by_one
    from nmer.training.data import FoldData

    torch.set_num_threads(1)
    shape = CORPORA[name]
    begun: list[float] = []
    done: list[float] = []

    class TimedAdamW(one_by_one.AdamW):
        def step(self, *given, **named):
            super().step(*given, **named)
            done.append(time.process_time())

    one_by_one.AdamW = TimedAdamW
    original = one_by_one.OneByOne.train_epoch

    def one_step_of_epoch(learner, *given):
        begun.append(time.process_time())
        data.training_rows = data.training_rows[:BATCH]
        return original(learner, *given)

    one_by_one.OneByOne.train_epoch = one_step_of_epoch
    began = time.process_time()
    data = FoldData(*files, 1, torch.device("cpu"))
    train(name, system, data, frozen_teacher(system, shape), 1)
    return begun[0] - began, done[0] - began


def middle(ratios: np.ndarray) -> str:
    """Return median and range."""
    return f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})"


if __name__ == "__main__":
    main()
