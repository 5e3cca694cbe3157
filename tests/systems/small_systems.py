"""Small systems and batches: narrow features, one thin Transformer layer, utterances of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences, System

DIMS = {"a": 4, "v": 3, "l": 5}
DEVIATIONS = {"a": 2.0, "v": 0.5, "l": 3.0}
CLASSES = 3

SMALL_NMER = {"layers": 1, "heads": 2, "feed_forward": 64, "transformer_dropout": 0.0}
STACKED = {"invariance": "stacked"}
OPTIONS = {
    "men": {},
    "shared": {},
    "two_tower": {},
    "mctn": {"steps": 5},
    "mctn hier": {"form": "hier", "steps": 5},
    "mmin": {},
    "if_mmin": {},
    "nmer": SMALL_NMER,
    "nmer stacked": SMALL_NMER | STACKED,
    "nmer_no_vae": {},
    "nmer_no_vae stacked": STACKED,
    "nmer_no_inv": SMALL_NMER,
    "nmer_no_inv stacked": SMALL_NMER | STACKED,
    "experts": {"depth": 1},
    "experts mean": {"depth": 1, "tokens": "mean"},
    "momke": {"depth": 1},
    "momke mean": {"depth": 1, "tokens": "mean"},
    "lnln": {"fusion_layers": 1, "max_frames": 16},
    "emt_dlfr": {"layers": 1},
    "contrastive": {},
    "cif_mmin": {},
    "unimodal_a": {},
    "unimodal_v": {},
    "unimodal_l": {},
}
"""Options of every system, and of its other forms, named after it."""

SYSTEMS = tuple(OPTIONS)

TEACHERS = {
    "mmin": "men",
    "if_mmin": "shared",
    "nmer": "two_tower",
    "nmer stacked": "shared",
    "nmer_no_vae": "two_tower",
    "nmer_no_vae stacked": "shared",
    "nmer_no_inv": "two_tower",
    "nmer_no_inv stacked": "shared",
    "momke": "experts",
    "momke mean": "experts mean",
    "cif_mmin": "contrastive",
}
"""The frozen teacher of every system that has one."""

WIDTHS = {"men": 128, "shared": 256, "two_tower": 256, "experts": 256, "experts mean": 256, "contrastive": 256}
"""Width of a teacher's encodings."""

TRIPLES = {
    "a": ("cnn", "ncc"),
    "v": ("ncn", "cnc"),
    "l": ("nnc", "ccn"),
    "av": ("ccn", "nnc"),
    "al": ("cnc", "ncn"),
    "vl": ("ncc", "cnn"),
    "none": ("nnn", "ccc"),
}
"""Per condition what a, v and l are, clean or noisy, in the input and in the reversed triple (SPEC 1, 4.2)."""

CONDITIONS = tuple(TRIPLES)


def small_system(name: str, dropout: float = 0.0, **options) -> System:
    """Build a small system whose dropout is ``dropout`` everywhere; with 0 training and evaluation mode agree."""
    system = build_system(name.split()[0], DIMS, CLASSES, dropout, OPTIONS[name] | options)
    for part in system.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    return system


def padded(utterances: list[Tensor]) -> Sequences:
    """Build sequences from utterances (frames, dim)."""
    lengths = torch.tensor([len(frames) for frames in utterances])
    return Sequences(nn.utils.rnn.pad_sequence(utterances, batch_first=True), lengths)


def disturbed(sequences: Sequences) -> Sequences:
    """Fill padding with 7 instead of 0, and add three padded frames."""
    values = sequences.values.masked_fill(~sequences.valid()[:, :, None], 7.0)
    return Sequences(nn.functional.pad(values, (0, 0, 0, 3), value=7.0), sequences.lengths)


def random_utterances(count: int = 6, seed: int = 0) -> dict[str, list[Tensor]]:
    """Draw per modality ``count`` utterances of 1 to 9 frames, far enough from zero to reveal a wrong maximum."""
    generator = torch.Generator().manual_seed(seed)
    lengths = {m: torch.randint(1, 10, (count,), generator=generator).tolist() for m in DIMS}
    return {
        m: [1.5 * torch.randn(frames, dim, generator=generator) for frames in lengths[m]] for m, dim in DIMS.items()
    }


def batch_of(
    observed: dict[str, list[Tensor]],
    labels: list[int] | None = None,
    teacher_width: int = 256,
    conditions: tuple[str, ...] = CONDITIONS,
    clean: dict[str, list[Tensor]] | None = None,
) -> Batch:
    """Build a batch with random teacher encodings, none if their width is 0.

    conditions: of the utterances, cyclically. clean: clean sequences; default: different from the observed ones.
    """
    count = len(next(iter(observed.values())))
    labels = labels or [number % CLASSES for number in range(count)]
    clean = clean or {m: [utterance - 0.3 for utterance in utterances] for m, utterances in observed.items()}
    inputs = [TRIPLES[conditions[number % len(conditions)]][0] for number in range(count)]
    generator = torch.Generator().manual_seed(99)

    def encodings() -> dict[str, Tensor]:
        return {m: torch.randn(count, teacher_width, generator=generator) for m in DIMS if teacher_width}

    return Batch(
        observed={m: padded(utterances) for m, utterances in observed.items()},
        labels=torch.tensor(labels),
        noisy={m: torch.tensor([states[position] == "n" for states in inputs]) for position, m in enumerate("avl")},
        teacher_clean=encodings(),
        teacher_noisy=encodings(),
        clean=lambda modality: padded(clean[modality]),
        deviations=DEVIATIONS,
    )


def batch_for(name: str, system: System, utterances: dict[str, list[Tensor]], labels: list[int] | None = None) -> Batch:
    """Build a training batch of a small system: the modalities that it reads and encodings as wide as its teacher's."""
    width = WIDTHS[TEACHERS[name]] if name in TEACHERS else 0
    observed = {modality: utterances[modality] for modality in system.modalities}
    return batch_of(observed, labels, width, clean={m: [frames - 0.3 for frames in utterances[m]] for m in DIMS})


def logits(system: System, observed: dict[str, Sequences]) -> Tensor:
    """Compute logits as evaluation does: encode every modality that the system reads, then fuse."""
    with torch.inference_mode():
        return system.eval().fuse({m: system.encode(m, observed[m]) for m in system.modalities})["logits"]


def in_order(encodings: dict[str, Tensor], part: slice = slice(None)) -> Tensor:
    """Concatenate the same columns of all encodings in the order a, l, v."""
    return torch.cat([encodings["a"][:, part], encodings["l"][:, part], encodings["v"][:, part]], dim=1)


SPECIFIC, INVARIANT = slice(0, 128), slice(128, 256)
"""Columns of h_m and of H_m in an encoding [h_m; H_m]."""


def reversed_triple(batch: Batch, conditions: tuple[str, ...] = CONDITIONS) -> dict[str, Tensor]:
    """Look up the teacher's encodings of the reversed triples in the table, utterance by utterance.

    conditions: of the utterances of the batch.
    """
    teacher_encodings = {"c": batch.teacher_clean, "n": batch.teacher_noisy}
    return {
        m: torch.stack([teacher_encodings[TRIPLES[c][1][position]][m][number] for number, c in enumerate(conditions)])
        for position, m in enumerate("avl")
    }


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Average the negative logarithm of the probability of the label."""
    exponentials = logits.double().exp()
    return (-(exponentials[range(len(labels)), labels] / exponentials.sum(dim=1)).log().sum() / len(labels)).float()


def squared_error(first: Tensor, second: Tensor) -> Tensor:
    """Average the squared difference over all elements."""
    assert first.shape == second.shape
    return ((first - second) ** 2).sum() / first.numel()


def layer_sizes(network: nn.Module) -> list[tuple[int, int]]:
    """List inputs and outputs of the linear layers of a network."""
    return [(part.in_features, part.out_features) for part in network.modules() if isinstance(part, nn.Linear)]
