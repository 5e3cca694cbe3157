"""The interface of a system: its batches, encodings, outputs and losses.

A new system is one file with one class derived from :class:`System`; nothing else in the workflow changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from nmer.errors import ConfigError
from nmer.names import CONCATENATION_ORDER, modality_set
from nmer.systems.blocks.branches import compute_branches, hold

WEIGHT = "_weight"
"""End of the name of an option that is the weight of a term of the loss."""

L1, MSE = "L1", "MSE"
"""Losses of a score: mean absolute error, mean squared error."""


class Sequences(NamedTuple):
    """Feature sequences of one modality. values: (batch, longest, dim), zero beyond each length. lengths: (batch,)."""

    values: Tensor
    lengths: Tensor

    def valid(self) -> Tensor:
        """Return the mask of the frames within each length: (batch, longest) bool."""
        frames = torch.arange(self.values.shape[1], device=self.lengths.device)
        return frames < self.lengths[:, None]


Encoding: TypeAlias = Any
"""The encodings of one modality: a tensor (batch, width), or a named tuple of tensors such as :class:`Sequences`.

Utterances are on the first axis of every tensor. A field of three axes or more has frames on the second, zero beyond
each length.
"""


def _not_known(modality: str) -> Sequences:
    raise LookupError(f"This batch has no clean sequences of modality {modality}.")


@dataclass(frozen=True)
class Batch:
    """One training batch.

    observed: per modality the input sequences, clean or noisy. labels: (batch,) int64, or float32 scores. noisy: per
    modality (batch,) bool, which utterances are noisy. teacher_clean, teacher_noisy: per modality the frozen teacher's
    encodings of the clean and of the noisy features, (batch, width), computed on first access; empty for a system
    without a teacher. clean: function from a modality to its clean sequences, gathered when called and equal to the
    observed ones of utterances that are not noisy. deviations: per modality the standard deviation of its features that
    calibrates the noise (SPEC 2.6).
    """

    observed: dict[str, Sequences]
    labels: Tensor
    noisy: dict[str, Tensor]
    teacher_clean: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_noisy: Mapping[str, Tensor] = field(default_factory=dict)
    clean: Callable[[str], Sequences] = _not_known
    deviations: dict[str, float] = field(default_factory=dict)

    def teacher_reversed(self) -> dict[str, Tensor]:
        """Return the teacher's encodings of the reversed observation: clean where the input is noisy, noisy where it is
        clean (SPEC 4.2)."""
        return {
            modality: torch.where(flags[:, None], self.teacher_clean[modality], self.teacher_noisy[modality])
            for modality, flags in self.noisy.items()
        }


class System(nn.Module):
    """Base of every system.

    A subclass implements :meth:`encode` (one modality at a time) and :meth:`fuse`; that split lets evaluation encode
    every modality once and recombine the encodings for all conditions. Its options are annotated class attributes
    (:mod:`nmer.options`), which the constructor takes as keywords.
    """

    modalities: tuple[str, ...] = ()
    """The modalities that the system reads. Default: all of the corpus."""

    inherited: tuple[str, ...] = ()
    """Names of the submodules that are initialised with the teacher's weights."""

    score_loss = L1
    """The form of :meth:`target_loss` for scores; set by the training."""

    weights: dict[str, float]
    """Weights of terms of the loss by name, from the options that end in ``_weight``. Other terms have weight 1."""

    initialisation: ClassVar[Literal["kaiming", "framework"]] = "kaiming"
    """Initial weights of the linear layers: Kaiming normal with zero biases (SPEC 3.2), or PyTorch's default."""

    noise_flags = False
    """Whether :meth:`fuse` takes ``noisy``, per modality (batch,) bool: which utterances are noisy. Only oracles do."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        """dims: input width of each of the corpus' modalities. classes: number of classes, or 1 where the
        target is a score. dropout: rate of the classifier heads. options: values of options that are not at their
        default. Raises TypeError for an option that the class does not declare."""
        super().__init__()
        for name, value in options.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} declares no option '{name}'.")
            setattr(self, name, value)
        named = [name for name in dir(type(self)) if name.endswith(WEIGHT)]
        self.weights = {name.removesuffix(WEIGHT): getattr(self, name) for name in named}
        self.dims = dims
        self.modalities = self.modalities or modality_set(dims)
        self.classes = classes
        self.dropout = dropout

    def encode(self, modality: str, sequences: Sequences) -> Encoding:
        """Encode one of the system's modalities, utterances independently: (batch, width).

        A system whose fusion reads frames returns a named tuple (:data:`Encoding`); a pretraining returns a tensor.
        """
        raise NotImplementedError

    def fuse(self, encodings: dict[str, Encoding]) -> dict[str, Tensor]:
        """Fuse the encodings of the system's modalities and return outputs, among them ``logits`` (batch, classes). If
        the target is a score, the only column is the predicted score."""
        raise NotImplementedError

    def fuse_observed(self, encodings: dict[str, Encoding], noisy: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """:meth:`fuse`, with the flags of the noisy modalities for a system with ``noise_flags``."""
        if self.noise_flags:
            return self.fuse(encodings, noisy=noisy)  # type: ignore[call-arg]
        return self.fuse(encodings)

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the unweighted terms of the loss by name. Default: :meth:`target_loss` only."""
        return {"classification": self.target_loss(outputs, batch)}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name; their sum is minimised.

        Raises ConfigError if a weight belongs to no term.
        """
        terms = self.loss_terms(outputs, batch)
        if unused := next((name for name in self.weights if name not in terms), None):
            raise ConfigError(
                f"{type(self).__name__}: its option {unused}{WEIGHT} weights no term of the loss. Name a term of "
                f"loss_terms '{unused}', or remove '{unused}' from self.weights in the constructor."
            )
        return {name: self.weights[name] * term if name in self.weights else term for name, term in terms.items()}

    def target_loss(self, outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return the cross-entropy of classes, or the mean absolute or squared error of scores (SPEC 14)."""
        return target_loss(outputs["logits"], batch.labels, self.score_loss)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs for the observed sequences of a batch."""
        hold(batch.observed)  # a system may compute them before
        encodings: dict[str, Encoding] = compute_branches(
            {m: partial(self.encode, m, batch.observed[m]) for m in self.modalities}
        )
        return self.fuse_observed(encodings, batch.noisy)

    def inherit(self, teacher: System) -> None:
        """Copy the weights of the submodules named in ``inherited`` from the pretrained teacher."""
        for name in self.inherited:
            getattr(self, name).load_state_dict(getattr(teacher, name).state_dict())

    def subnetworks(self) -> Iterator[nn.Module]:
        """Yield the modules whose gradients are clipped separately (SPEC 3.3): every child, the members of
        dictionaries, and the sub-networks of a child that has this method."""
        for child in self.children():
            if isinstance(child, nn.ModuleDict):
                yield from child.values()
            elif callable(own := getattr(child, "subnetworks", None)):
                yield from own()
            else:
                yield child


def target_loss(logits: Tensor, labels: Tensor, score_loss: str = L1) -> Tensor:
    """Return the mean loss of predictions. logits: (batch, classes) with labels (batch,) int64, or (batch, 1) predicted
    scores with float labels. score_loss: ``L1`` or ``MSE``."""
    if not labels.is_floating_point():
        return nn.functional.cross_entropy(logits, labels)
    loss = nn.functional.l1_loss if score_loss == L1 else nn.functional.mse_loss
    return loss(logits[:, 0], labels)


def concatenate(encodings: Mapping[str, Tensor]) -> Tensor:
    """Concatenate the encodings of the given modalities, in the order a, l, v (SPEC sections 1, 13)."""
    there = set(encodings)
    return torch.cat([encodings[modality] for modality in CONCATENATION_ORDER if modality in there], dim=1)


def summed(tensors: Iterable[Tensor]) -> Tensor:
    """Add one or more tensors in their order."""
    first, *others = tensors
    return sum(others, first)


def halves(encodings: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Split encodings [h_m; H_m] into concat(h) and concat(H), each (batch, 128 times the number of modalities)."""
    split = {modality: encoding.chunk(2, dim=1) for modality, encoding in encodings.items()}
    return (
        concatenate({modality: pair[0] for modality, pair in split.items()}),
        concatenate({modality: pair[1] for modality, pair in split.items()}),
    )
