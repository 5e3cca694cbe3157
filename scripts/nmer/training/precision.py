"""Precision of matrix products in training: single, or lower where that is faster (``training.precision``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nmer.devices import set_product_precision
from nmer.plan.settings import BFLOAT16, TF32, TrainingSettings
from nmer.systems.interface import Batch, System


@contextmanager
def matrix_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Let a GPU compute matrix products in TF32 within the block, if ``precision`` is TF32.

    Weights, sums and optimiser stay in single precision.
    """
    if precision != TF32 or device.type == "cpu":
        yield
        return
    before = set_product_precision("tf32")
    try:
        yield
    finally:
        set_product_precision(before)


def loss_terms(system: System, batch: Batch, options: TrainingSettings) -> dict[str, Tensor]:
    """Return the terms of a system's loss for a batch. Losses are always computed in single precision."""
    if options.precision != BFLOAT16:
        return system.loss(system(batch), batch)
    with torch.autocast(batch.labels.device.type, torch.bfloat16):
        outputs = system(batch)
    single = {name: output.float() if output.is_floating_point() else output for name, output in outputs.items()}
    return system.loss(single, batch)
