"""Training of all repeats of a job by one of the two learners."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nmer.names import FRESH
from nmer.plan.settings import RunSettings
from nmer.systems.building import build_system
from nmer.systems.interface import System
from nmer.training.data import FoldData
from nmer.training.loop import Trained, fit
from nmer.training.models import build_restored
from nmer.training.one_by_one import OneByOne
from nmer.training.stacked import Stacked

if TYPE_CHECKING:
    from nmer.noisy_embeddings.fresh_noise import FreshNoise


def train_repeats(
    settings: RunSettings,
    data: FoldData,
    stage: str | None,
    teachers: Path | None,
    progress: Path,
    fresh: FreshNoise | None,
) -> dict[int, Trained]:
    """Train all repeats. Returns the weights of the best epoch and the history of each repeat.

    stage: the pretraining that the system starts from, with weights in the file ``teachers``. progress: folder of the
    checkpoints. fresh: source of fresh training noise, if configured.
    Raises DataError if the weights of a teacher do not match, TrainingError if a loss is not finite.
    """
    shape = (data.dims, data.outputs, settings.training.dropout)

    def build() -> System:
        system = build_system(settings.system, *shape, settings.options, settings.file)
        system.score_loss = settings.training.score_loss
        return system

    def teacher(repeat: int) -> System | None:
        if stage is None or teachers is None:
            return None
        system = build_restored(teachers, repeat, stage, *shape, **settings.teacher)
        return system.to(data.device).requires_grad_(False)

    repeats = list(range(1, settings.repeats + 1))
    if is_stacked(settings, data.device):
        stacked = _train_stacked(build, data, settings, {repeat: teacher(repeat) for repeat in repeats}, progress)
        if stacked is not None:
            return stacked
    trained: dict[int, Trained] = {}
    for repeat in repeats:
        learner = OneByOne(build, data, settings, repeat, teacher(repeat), fresh)
        trained |= fit(learner, settings, progress / f"repeat{repeat}.pt")
    return trained


def _train_stacked(
    build: Callable[[], System],
    data: FoldData,
    settings: RunSettings,
    teachers: dict[int, System | None],
    progress: Path,
) -> dict[int, Trained] | None:
    """Train all repeats stacked, or warn and return None if the system cannot be stacked.

    In that case the learner is freed on return, before training one by one needs the memory.
    """
    built = {repeat: system for repeat, system in teachers.items() if system}
    learner = Stacked(build, data, settings, list(teachers), built)
    # Built-in systems can be stacked, as a test checks for each.
    reason = learner.stacking_obstacle(try_first=settings.file is not None)
    if reason:
        print(f"warning: {settings.system}: its repeats are trained one by one, because {reason}", file=sys.stderr)
        return None
    # The model file follows at once.
    return fit(learner, settings, progress / "repeats.pt", save_finished=False)


def is_stacked(settings: RunSettings, device: torch.device) -> bool:
    """Return whether to train repeats stacked. Fresh noise would need a copy of the data for each repeat."""
    on_gpu = device.type != "cpu"
    stacked = {"always": on_gpu or settings.repeats > 1, "never": False, "where_faster": on_gpu}
    return stacked[settings.training.repeats_together] and settings.train_draws != FRESH
