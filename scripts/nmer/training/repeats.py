"""All repeats of a training job, as one or one after another (DESIGN section 5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nmer.names import FRESH
from nmer.plan.settings import RunSettings
from nmer.systems.building import build_system
from nmer.systems.interface import System
from nmer.training.data import FoldData
from nmer.training.loop import Row, train_repeat
from nmer.training.models import restore
from nmer.training.together import train_together

if TYPE_CHECKING:
    from nmer.noisy_embeddings.fresh_noise import FreshNoise


def train_repeats(
    settings: RunSettings,
    data: FoldData,
    stage: str | None,
    teachers: Path | None,
    progress: Path,
    fresh: FreshNoise | None,
) -> dict[int, tuple[dict[str, Tensor], list[Row]]]:
    """Train all repeats; per repeat the weights of its best epoch and its history.

    stage: the pretraining that the system starts from, whose weights are in the file ``teachers``. progress: folder of
    the checkpoints. fresh: draws training noise, where the settings ask for it.
    Raises DataError if the teachers' weights do not fit, TrainingError if a loss is not finite.
    """
    shape = (data.dims, len(data.classes), settings.training.dropout)

    def build() -> System:
        return build_system(settings.system, *shape, settings.options, settings.file)

    def teacher(repeat: int) -> System | None:
        if stage is None or teachers is None:
            return None
        system = build_system(stage, *shape, **settings.teacher).to(data.device).requires_grad_(False)
        restore(system, teachers, repeat)
        return system

    repeats = list(range(1, settings.repeats + 1))
    if as_one(settings, data.device):
        own = {repeat: teacher(repeat) for repeat in repeats}
        taught = {repeat: system for repeat, system in own.items() if system is not None}
        trained = train_together(build, data, settings, repeats, taught, progress / "repeats.pt")
        if trained is not None:
            return trained
    return {
        repeat: train_repeat(build, data, settings, repeat, teacher(repeat), progress / f"repeat{repeat}.pt", fresh)
        for repeat in repeats
    }


def as_one(settings: RunSettings, device: torch.device) -> bool:
    """Whether to train a job's repeats together. Fresh noise would need a copy of the data for every one of them."""
    faster = {"always": True, "never": False, "where_faster": device.type != "cpu"}[settings.training.repeats_together]
    return faster and settings.repeats > 1 and settings.train_draws != FRESH
