"""What a system must do to be trained, tried on random utterances in seconds: ``nmer check-system``.

The same batches, teachers and stacking as in a training, so that a system that passes does not fail after hours.
"""

from __future__ import annotations

import inspect
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.store_writer import write_store
from nmer.errors import NmerError
from nmer.metrics import SCORE, SELECTING
from nmer.names import ALL_NOISY, incomplete_conditions
from nmer.plan.conditions import noisy_flags
from nmer.plan.settings import RunSettings, TrainingSettings
from nmer.systems.building import build_system
from nmer.systems.interface import System, summed
from nmer.systems.registry import pretraining, systems
from nmer.training.batches import make_batch
from nmer.training.data import FoldData
from nmer.training.stacked import Stacked
from nmer.training.targets import TeacherTargets

DIMS = {"a": 12, "v": 10, "l": 14}
CLASSES = 4
UTTERANCES = 24
REPEATS = [1, 2]
TOLERANCE = 1e-4
"""Of logits between one utterance alone and among others: sums in another order round otherwise."""


@dataclass(frozen=True)
class Finding:
    """A sentence on what is wrong. fatal: whether a training would fail or be wrong, not only slower."""

    sentence: str
    fatal: bool = True


class _WrongError(Exception):
    """Ends the checks with a last finding."""


def check_system(
    name: str,
    dims: dict[str, int] | None = None,
    classes: int = CLASSES,
    options: dict[str, Any] | None = None,
    file: str | None = None,
    target: str = "classes",
) -> list[Finding]:
    """Everything that is found wrong with a system, empty if nothing is.

    name, file, options, dims, classes: as for :func:`nmer.systems.building.build_system`. target: what it is
    trained to predict, ``classes`` or ``score``. Raises ConfigError for an
    unknown system or option.
    """
    findings: list[Finding] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            _Checks(name, dims or DIMS, classes, options or {}, file, Path(folder), target).run(findings)
    except _WrongError as wrong:
        findings.append(Finding(str(wrong)))
    return findings


class _Checks:
    def __init__(
        self,
        name: str,
        dims: dict[str, int],
        classes: int,
        options: dict[str, Any],
        file: str | None,
        folder: Path,
        target: str,
    ) -> None:
        self.name, self.options, self.file = name, options, file
        self.declaration = systems.declaration(name, file)
        self.declaration.check_options(options, f"systems.{name}")
        self.data = _random_fold(dims, classes, folder, target)
        self.rows = torch.arange(UTTERANCES)
        shown = incomplete_conditions(dims) or (ALL_NOISY,)
        flags = [noisy_flags(shown[number % len(shown)], dims) for number in range(UTTERANCES)]
        self.flags = torch.from_numpy(np.stack(flags))
        stage = pretraining(self.declaration, options)
        self.teacher = self._teacher(stage).requires_grad_(False).eval() if stage else None

    def run(self, findings: list[Finding]) -> None:
        """Add what is wrong to the findings; raises _WrongError where the rest cannot be tried."""
        findings += map(Finding, self._undeclared())
        system = self._system()
        if buffers := [name for name, _buffer in system.named_buffers()]:
            findings.append(Finding(f"it has buffers ({', '.join(buffers)}), so its repeats train one by one.", False))
        findings += map(Finding, self._influences(system))
        findings += map(Finding, self._gradients(system))
        if not buffers:
            findings += self._stacking()

    def _teacher(self, stage: str) -> System:
        """The pretraining, with the options that it passes on as the system has them."""
        passed_on = systems.declaration(stage).attributes.get("passed_on", ())
        return self._built(stage, {name: value for name, value in self.options.items() if name in passed_on}, None)

    def _built(self, name: str, options: dict[str, Any], file: str | None) -> System:
        with _called(f"{name} cannot be built"):
            return build_system(name, self.data.dims, self.data.outputs, 0.5, options, file)

    def _system(self) -> System:
        system = self._built(self.name, self.options, self.file)
        if not isinstance(system, System):
            raise _WrongError(f"{type(system).__name__} is not derived from nmer.systems.interface.System.")
        if self.teacher is not None:
            with _called("inherit(teacher) fails"):
                system.inherit(self.teacher)
        return system

    def _undeclared(self) -> list[str]:
        """Arguments of the constructor that are no options: no configuration can set them."""
        constructor = inspect.signature(systems.load(self.name, self.file))
        known = {"dims", "classes", "dropout", *self.declaration.options}
        named = [p.name for p in constructor.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        return [
            f"its constructor takes '{name}', which is not declared as an option."
            for name in named
            if name not in known
        ]

    def _logits(self, system: System, rows: Tensor, longest: dict[str, int] | None = None) -> Tensor:
        batch = make_batch(self.data, rows, self.flags[rows], None, system.modalities, longest=longest)
        encodings = {}
        for modality in system.modalities:
            with _called(f"encode('{modality}', …) fails"):
                encodings[modality] = system.encode(modality, batch.observed[modality])
            _expect_encoding(encodings[modality], f"encode('{modality}', …)", len(rows))
        with _called("fuse(…) fails"):
            outputs = system.fuse_observed(encodings, batch.noisy)
        if not isinstance(outputs, dict) or "logits" not in outputs:
            found = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise _WrongError(f"fuse(…) must return a dictionary with 'logits'; it returns {found}.")
        logits: Tensor = outputs["logits"]
        _expect(logits, "its output 'logits'", (len(rows), self.data.outputs))
        return logits

    @torch.no_grad()
    def _influences(self, system: System) -> Iterator[str]:
        """Whether a prediction depends on the other utterances of a batch, or on how far it is padded."""
        system.eval()
        together = self._logits(system, self.rows)
        if not together.isfinite().all():
            yield "its output 'logits' is not finite."
            return
        scale = float(together.abs().max()) or 1.0
        alone = torch.cat([self._logits(system, self.rows[number : number + 1]) for number in range(4)])
        if float((alone - together[:4]).abs().max()) > TOLERANCE * scale:
            yield "a prediction depends on the other utterances of its batch, or on the frames after its own."
        further = dict.fromkeys(self.data.dims, 20)
        if float((self._logits(system, self.rows, further) - together).abs().max()) > TOLERANCE * scale:
            yield "a prediction depends on how far its sequences are padded: leave out what lies beyond their lengths."
        if not torch.equal(self._logits(system, self.rows), together):
            yield "two predictions of the same batch differ: in evaluation nothing may be drawn."

    def _losses(self, system: System) -> dict[str, Tensor]:
        targets = TeacherTargets(self.teacher, self.data) if self.teacher is not None else None
        batch = make_batch(self.data, self.rows, self.flags, targets, system.modalities)
        torch.manual_seed(1)
        with _called("loss(…) fails"):
            terms = system.loss(system(batch), batch)
        if not isinstance(terms, dict) or not terms:
            raise _WrongError("loss(…) must return a dictionary of the terms of the loss.")
        for term, value in terms.items():
            _expect(value, f"the term '{term}' of its loss", ())
        return terms

    def _gradients(self, system: System) -> Iterator[str]:
        """Whether the loss is finite, the same twice, and has a gradient in every parameter."""
        system.train()
        terms = self._losses(system)
        if infinite := [term for term, value in terms.items() if not value.isfinite()]:
            yield f"the term '{infinite[0]}' of its loss is not finite."
            return
        again = self._losses(system)
        if any(not torch.equal(value, again[term]) for term, value in terms.items()):
            yield "its loss differs between two equal calls with one seed: draw with torch's default generator only."
        with _called("the gradient of its loss fails"):
            summed(terms.values()).backward()
        clipped = {id(parameter) for part in system.subnetworks() for parameter in part.parameters()}
        for name, parameter in system.named_parameters():
            if id(parameter) not in clipped:
                yield f"its parameter '{name}' is in none of its sub-modules, so its gradient is not clipped."
            if parameter.requires_grad and parameter.grad is None:
                yield f"its parameter '{name}' has no gradient: its loss does not depend on it."
            elif parameter.grad is not None and not parameter.grad.isfinite().all():
                yield f"the gradient of its parameter '{name}' is not finite."

    def _stacking(self) -> Iterator[Finding]:
        """Whether the repeats of a job can be trained as one, which is how a GPU trains."""
        regime = "incomplete" if incomplete_conditions(self.data.dims) else "all_noisy"
        training = TrainingSettings(batch_size=UTTERANCES, selection=SELECTING[self.data.target])
        settings = RunSettings("random", self.name, regime, 1, len(REPEATS), training=training)
        teachers = dict.fromkeys(REPEATS, self.teacher) if self.teacher is not None else {}
        with _called("it cannot be trained"):
            stacked = Stacked(self._system, self.data, settings, REPEATS, teachers)
            reason = stacked.refusal(tried_first=True)
        if reason:
            yield Finding(f"its repeats cannot be trained as one, so a GPU trains them one by one: {reason}", False)


@contextmanager
def _called(what: str) -> Iterator[None]:
    """Calls of a user's code: whatever it raises ends the checks with one sentence that says where."""
    try:
        yield
    except (NmerError, _WrongError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split()) or type(error).__name__
        raise _WrongError(f"{what}: {type(error).__name__}: {text} ({place.filename}, line {place.lineno}).") from None


def _expect(value: object, what: str, shape: tuple[int | None, ...]) -> None:
    wanted = "(" + ", ".join("width" if size is None else str(size) for size in shape) + ")"
    if not isinstance(value, Tensor):
        raise _WrongError(f"{what} must be a tensor {wanted}; it is {type(value).__name__}.")
    fits = value.dim() == len(shape) and all(
        size in (None, found) for size, found in zip(shape, value.shape, strict=False)
    )
    if not fits:
        raise _WrongError(f"{what} must have the shape {wanted}; it has {tuple(value.shape)}.")


def _expect_encoding(encoding: object, what: str, count: int) -> None:
    """Encodings are a tensor, or a named tuple of tensors with the utterances on their first axis."""
    if not isinstance(encoding, tuple):
        _expect(encoding, what, (count, None))
        return
    if not hasattr(encoding, "_fields"):
        raise _WrongError(f"{what} must be a tensor or a NamedTuple of tensors; it is a plain tuple.")
    for name, field in zip(encoding._fields, encoding, strict=True):
        if not isinstance(field, Tensor) or field.shape[:1] != (count,):
            shape = tuple(field.shape) if isinstance(field, Tensor) else type(field).__name__
            raise _WrongError(f"{what}: its field '{name}' must be a tensor ({count}, …); it is {shape}.")


def _random_fold(dims: dict[str, int], classes: int, folder: Path, target: str) -> FoldData:
    """Random utterances of 1 to 8 frames, clean and noisy."""
    random = np.random.default_rng(0)
    lengths = {modality: random.integers(1, 9, UTTERANCES) for modality in dims}
    frames = {m: [random.standard_normal((int(n), dims[m])).astype(np.float32) for n in lengths[m]] for m in dims}
    every = np.arange(UTTERANCES)
    corpus = Corpus(
        ids=[f"utterance{number}" for number in every],
        labels=every / UTTERANCES if target == SCORE else every % classes,
        speakers=["speaker"] * UTTERANCES,
        classes=[] if target == SCORE else [f"class{number}" for number in range(classes)],
        dims=dims,
        lengths=lengths,
        folds={1: {"train": every, "val": every, "test": every}},
        features=lambda modality, number: frames[modality][number],
    )
    features, noisy = folder / "features.h5", folder / "noisy.h5"
    write_store(corpus, CorpusSettings("random", "ragged_hdf5", target=target), features)
    with h5py.File(noisy, "w") as file:
        for modality in dims:
            clean = np.concatenate(frames[modality])
            file[f"{modality}/values"] = clean + random.standard_normal(clean.shape).astype(np.float32)
    return FoldData(features, noisy, 1, torch.device("cpu"))
