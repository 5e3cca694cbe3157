"""Small systems and batches: narrow features, one thin Transformer layer, utterances of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences, System

DIMS = {"a": 4, "v": 3, "l": 5}
CLASSES = 3
SMALL_NMER = {"layers": 1, "heads": 2, "feed_forward": 64, "transformer_dropout": 0.0}
OPTIONS = {"men": {}, "shared": {}, "two_tower": {}, "nmer": SMALL_NMER}
SYSTEMS = tuple(OPTIONS)


def small_system(name: str, dropout: float = 0.0, **options) -> System:
    """A small system without any dropout of its own, so that training and evaluation mode compute the same."""
    system = build_system(name, DIMS, CLASSES, dropout, OPTIONS[name] | options)
    for part in system.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    return system


def padded(utterances: list[Tensor]) -> Sequences:
    """Sequences from utterances (frames, dim)."""
    lengths = torch.tensor([len(frames) for frames in utterances])
    return Sequences(nn.utils.rnn.pad_sequence(utterances, batch_first=True), lengths)


def random_utterances(count: int = 6, seed: int = 0) -> dict[str, list[Tensor]]:
    """Per modality ``count`` utterances of 1 to 9 frames, far enough from zero that a wrong maximum shows."""
    generator = torch.Generator().manual_seed(seed)
    lengths = {m: torch.randint(1, 10, (count,), generator=generator).tolist() for m in DIMS}
    return {
        m: [1.5 * torch.randn(frames, dim, generator=generator) for frames in lengths[m]] for m, dim in DIMS.items()
    }


def batch_of(utterances: dict[str, list[Tensor]], labels: list[int] | None = None, teacher_width: int = 256) -> Batch:
    """A batch with random teacher encodings."""
    count = len(utterances["a"])
    generator = torch.Generator().manual_seed(99)
    return Batch(
        observed={m: padded(utterances[m]) for m in DIMS},
        labels=torch.tensor(labels if labels is not None else [i % CLASSES for i in range(count)]),
        noisy={m: torch.zeros(count, dtype=torch.bool) for m in DIMS},
        teacher_clean={m: torch.randn(count, teacher_width, generator=generator) for m in DIMS},
        teacher_noisy={m: torch.randn(count, teacher_width, generator=generator) for m in DIMS},
    )
