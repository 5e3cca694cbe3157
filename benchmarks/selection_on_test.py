"""Measure the gain of choosing the epoch on the test split, as the released code of the paper does.

The released code of the paper's line of work overwrites the validation scores of an epoch with its test scores before
it keeps the best one. Here every system is trained as in the workflow, and scored on the test split after every epoch,
which the workflow never does. Prints per corpus, system and level, UA and WA in points, with the six conditions pooled:
the score of the epoch with the best validation UA, and the gain of the epoch with the best test UA, mean and standard
deviation over repeats and folds. A system trained only on clean data (MEN) is validated on clean data and tested in
noise, as in Table 2.

Reads the feature stores and noisy embeddings of an experiment; make them first:
    snakemake --cores 2 noisy --config experiment=mosi data=../shared/data
Example: .venv/bin/python benchmarks/selection_on_test.py --experiment mosi --data ../shared/data
         .venv/bin/python benchmarks/selection_on_test.py --experiment demo --systems men nmer --levels -10
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from nmer.names import UNIMODAL_SYSTEMS  # noqa: E402
from nmer.plan.plan import Plan  # noqa: E402
from nmer.plan.settings import RunSettings  # noqa: E402
from nmer.systems.building import build_system  # noqa: E402
from nmer.systems.interface import System  # noqa: E402
from nmer.systems.registry import pretraining, systems  # noqa: E402
from nmer.training.data import FoldData  # noqa: E402
from nmer.training.loop import Row, fit  # noqa: E402
from nmer.training.one_by_one import OneByOne  # noqa: E402
from nmer.training.validation_split import ValidationSplit  # noqa: E402

CPU = torch.device("cpu")
REGIME = "incomplete"
"""Regime of the test conditions, and of the training of systems that declare it."""

Teachers: TypeAlias = dict[tuple[str | None, int, int], System]
"""Pretraining, fold and repeat -> the pretrained system, frozen."""

COLUMNS = ("corpus", "system", "level", "trainings", "UA", "higher by test selection", "WA", "higher by test selection")


class Watched(OneByOne):
    """A repeat that records its test scores after every epoch, such as ``test_UA``, in its history."""

    def __init__(self, build: Callable[[], System], data: FoldData, settings: RunSettings, *rest: object) -> None:
        super().__init__(build, data, settings, *rest)  # type: ignore[arg-type]
        tested = copy.copy(data)
        tested.splits = data.splits | {"val": data.splits["test"]}
        self._test = ValidationSplit(tested, replace(settings, regime=REGIME))

    def validate(self) -> list[dict[str, float]]:
        """Return the scores on the validation and on the test split."""
        (scores,) = super().validate()
        own, self._validation = self._validation, self._test
        (tested,) = super().validate()
        self._validation = own
        return [scores | {f"test_{name.removeprefix('val_')}": value for name, value in tested.items()}]


def main() -> None:
    """Train, compare both selections, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="mosi")
    parser.add_argument("--data", default="data", help="folder of the corpora, as for Snakemake")
    parser.add_argument("--datasets", nargs="+", help="default: those of the experiment")
    parser.add_argument("--systems", nargs="+", help="default: the trained multimodal systems of the experiment")
    parser.add_argument("--levels", type=int, nargs="+", help="Gaussian SNRs in dB; default: the experiment's")
    parser.add_argument("--repeats", type=int, help="default: the experiment's")
    parser.add_argument("--epochs", type=int, help="half at the full rate; default: the experiment's training")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    plan = Plan(config | {"experiment": arguments.experiment, "data": arguments.data})
    chosen = arguments.systems or [name for name in plan.trained_systems if name not in UNIMODAL_SYSTEMS]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for dataset in arguments.datasets or plan.datasets:
        teachers: Teachers = {}
        for system in chosen:
            for level in arguments.levels or plan.snr_db["gaussian"]:
                print(row(plan, dataset, system, level, arguments, teachers), flush=True)


def row(plan: Plan, dataset: str, system: str, level: int, arguments: argparse.Namespace, teachers: Teachers) -> str:
    """Return a row of the table: a system at a level, over all its folds and repeats.

    teachers: those of the dataset so far, which are trained once for all systems and levels.
    """
    found = [
        selections(history)
        for fold in plan.folds(dataset)
        for history in histories(plan, dataset, system, level, fold, arguments, teachers)
    ]
    cells = [dataset, system, f"{level} dB", str(len(found))]
    for metric in ("UA", "WA"):
        by_validation = 100 * np.array([first[metric] for first, _second in found])
        gain = 100 * np.array([second[metric] - first[metric] for first, second in found])
        spread = f" ± {gain.std(ddof=1):.2f}" if len(gain) > 1 else ""
        cells += [f"{by_validation.mean():.1f}", f"{gain.mean():+.2f}{spread}"]
    return f"| {' | '.join(cells)} |"


def selections(history: list[Row]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the test scores of the earliest epochs with the best validation UA and with the best test UA."""
    best = (max(history, key=lambda row: row[key]) for key in ("val_UA", "test_UA"))
    first, second = ({metric: row[f"test_{metric}"] for metric in ("UA", "WA")} for row in best)
    return first, second


def histories(
    plan: Plan, dataset: str, system: str, level: int, fold: int, arguments: argparse.Namespace, teachers: Teachers
) -> list[list[Row]]:
    """Train every repeat of a system on one fold; return their histories with test scores."""
    corruption = f"gaussian_{level}dB"
    regime = REGIME if REGIME in plan.regimes(dataset, system) else "clean"
    w = SimpleNamespace(dataset=dataset, system=system, regime=regime, fold=str(fold), corruption=corruption)
    settings = changed(plan.training_settings(w), arguments)
    data = FoldData(plan.features(dataset), plan.noisy(dataset, corruption), fold, CPU)
    stage = pretraining(systems.declaration(system), settings.options)
    found = []
    for repeat in range(1, settings.repeats + 1):
        key = (stage, fold, repeat)
        if stage and key not in teachers:
            teachers[key] = trained_teacher(plan, stage, dataset, fold, repeat, data, arguments)
        learner = Watched(builder(system, data, settings), data, settings, repeat, teachers.get(key))
        found.append(fit(learner, settings)[repeat][1])
    return found


def trained_teacher(
    plan: Plan, stage: str, dataset: str, fold: int, repeat: int, data: FoldData, arguments: argparse.Namespace
) -> System:
    """Return the pretrained system of one repeat, frozen."""
    settings = changed(plan.training_settings(SimpleNamespace(dataset=dataset, stage=stage, fold=str(fold))), arguments)
    build = builder(stage, data, settings)
    weights, _history = fit(OneByOne(build, data, settings, repeat), settings)[repeat]
    teacher = build().requires_grad_(False)
    teacher.load_state_dict(weights)
    return teacher


def builder(system: str, data: FoldData, settings: RunSettings) -> Callable[[], System]:
    """Return a function that makes a system with fresh weights."""
    shape = (data.dims, len(data.classes), settings.training.dropout)
    return lambda: build_system(system, *shape, settings.options, settings.file)


def changed(text: str, arguments: argparse.Namespace) -> RunSettings:
    """Return the plan's settings with the given repeats and epochs."""
    settings = RunSettings.from_mapping(json.loads(text))
    if arguments.repeats:
        settings = replace(settings, repeats=arguments.repeats)
    if arguments.epochs:
        half = arguments.epochs // 2
        training = replace(settings.training, constant_epochs=arguments.epochs - half, decay_epochs=half)
        settings = replace(settings, training=training)
    return settings


if __name__ == "__main__":
    main()
