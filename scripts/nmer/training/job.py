"""All repeats of a training job: which learner trains them."""

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
from nmer.training.models import restore
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
    """Train all repeats; per repeat the weights of its best epoch and its history.

    stage: the pretraining that the system starts from, whose weights are in the file ``teachers``. progress: folder of
    the checkpoints. fresh: draws training noise, where the settings ask for it.
    Raises DataError if the teachers' weights do not fit, TrainingError if a loss is not finite.
    """
    shape = (data.dims, data.outputs, settings.training.dropout)

    def build() -> System:
        system = build_system(settings.system, *shape, settings.options, settings.file)
        system.score_loss = settings.training.score_loss
        return system

    def teacher(repeat: int) -> System | None:
        if stage is None or teachers is None:
            return None
        system = build_system(stage, *shape, **settings.teacher).to(data.device).requires_grad_(False)
        restore(system, teachers, repeat)
        return system

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
    """Train all repeats stacked; None, with a warning, where the system refuses. Its learner is then freed, before one
    repeat after another needs the memory."""
    own = {repeat: system for repeat, system in teachers.items() if system}
    learner = Stacked(build, data, settings, list(teachers), own)
    # The workflow's own systems can be stacked, which a test proves for each.
    reason = learner.refusal(tried_first=settings.file is not None)
    if reason:
        print(f"warning: {settings.system}: its repeats are trained one by one, because {reason}", file=sys.stderr)
        return None
    return fit(learner, settings, progress / "repeats.pt")


def is_stacked(settings: RunSettings, device: torch.device) -> bool:
    """Whether to train a job's repeats stacked. Fresh noise would need a copy of the data for every one of them."""
    on_gpu = device.type != "cpu"
    chosen = {"always": on_gpu or settings.repeats > 1, "never": False, "where_faster": on_gpu}
    return chosen[settings.training.repeats_together] and settings.train_draws != FRESH
