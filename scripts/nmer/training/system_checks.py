"""Checks of a system on random utterances, in seconds: ``nmer check-system``.

The checks use the batches, teachers and stacking of a training, so a system that passes does not fail after hours.
"""

from __future__ import annotations

import inspect
import tempfile
import traceback
from collections.abc import Iterator, Mapping
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
from nmer.metrics import SELECTING
from nmer.names import ALL_NOISY, SCORE, incomplete_conditions
from nmer.plan.conditions import noisy_flags
from nmer.plan.settings import RunSettings, TrainingSettings
from nmer.systems.building import build_system
from nmer.systems.interface import System, summed
from nmer.systems.registry import pretraining, systems
from nmer.training.batches import make_batch
from nmer.training.data import FoldData
from nmer.training.stacked import Stacked
from nmer.training.teacher_targets import TeacherTargets

DIMS = {"a": 12, "v": 10, "l": 14}
CLASSES = 4
UTTERANCES = 24
REPEATS = [1, 2]
TOLERANCE = 1e-4
"""Relative tolerance between logits of an utterance individually and in a batch: the order of sums affects rounding."""


@dataclass(frozen=True)
class Finding:
    """A problem, in one sentence. fatal: whether training would fail or be wrong, not only slower."""

    sentence: str
    fatal: bool = True


class _CheckFailedError(Exception):
    """Ends the checks with a last finding."""


def check_system(
    name: str,
    dims: dict[str, int] | None = None,
    classes: int = CLASSES,
    options: dict[str, Any] | None = None,
    file: str | None = None,
    target: str = "classes",
    teacher: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Check a system and return the problems found.

    name, file, options, dims, classes: as in :func:`nmer.systems.building.build_system`. target: ``classes`` or
    ``score``. teacher: ``file`` and ``options`` of its pretraining; without a file, it is searched in that of the
    system, then in the package. Raises ConfigError for an unknown system or option.
    """
    findings: list[Finding] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            checks = _Checks(name, dims or DIMS, classes, options or {}, file, Path(folder), target, teacher or {})
            checks.run(findings)
    except _CheckFailedError as failure:
        findings.append(Finding(str(failure)))
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
        teacher: Mapping[str, Any],
    ) -> None:
        self.name, self.options, self.file = name, options, file
        self.declaration = systems.declaration(name, file)
        self.declaration.check_options(options, f"systems.{name}")
        self.data = _random_fold(dims, classes, folder, target)
        self.rows = torch.arange(UTTERANCES)
        conditions = incomplete_conditions(dims) or (ALL_NOISY,)
        flags = [noisy_flags(conditions[number % len(conditions)], dims) for number in range(UTTERANCES)]
        self.flags = torch.from_numpy(np.stack(flags))
        stage = pretraining(self.declaration, options)
        self.teacher = self._teacher(stage, teacher).requires_grad_(False).eval() if stage else None

    def run(self, findings: list[Finding]) -> None:
        """Add problems to the findings. Raises _CheckFailedError if no further check is possible."""
        findings += map(Finding, self._undeclared_options())
        system = self._system()
        if buffers := [name for name, _buffer in system.named_buffers()]:
            findings.append(Finding(f"it has buffers ({', '.join(buffers)}), so its repeats train one by one.", False))
        findings += map(Finding, self._check_predictions(system))
        findings += map(Finding, self._check_gradients(system))
        if not buffers:
            findings += self._check_stacking()

    def _teacher(self, stage: str, given: Mapping[str, Any]) -> System:
        """Build the pretraining, with its own options and those that it shares with the system."""
        file = given.get("file")
        if file is None and self.file is not None and systems.declares(Path(self.file), stage):
            file = self.file
        passed_on = systems.declaration(stage, file).attributes.get("passed_on", ())
        shared = {name: value for name, value in self.options.items() if name in passed_on}
        return self._build(stage, given.get("options", {}) | shared, file)

    def _build(self, name: str, options: dict[str, Any], file: str | None) -> System:
        with _calling(f"{name} cannot be built"):
            return build_system(name, self.data.dims, self.data.outputs, 0.5, options, file)

    def _system(self) -> System:
        system = self._build(self.name, self.options, self.file)
        if not isinstance(system, System):
            raise _CheckFailedError(f"{type(system).__name__} is not derived from nmer.systems.interface.System.")
        if self.teacher is not None:
            with _calling("inherit(teacher) fails"):
                system.inherit(self.teacher)
        return system

    def _undeclared_options(self) -> list[str]:
        """Report arguments of the constructor that are not options, so no configuration can set them."""
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
            with _calling(f"encode('{modality}', …) fails"):
                encodings[modality] = system.encode(modality, batch.observed[modality])
            _expect_encoding(encodings[modality], f"encode('{modality}', …)", len(rows))
        with _calling("fuse(…) fails"):
            outputs = system.fuse_observed(encodings, batch.noisy)
        if not isinstance(outputs, dict) or "logits" not in outputs:
            returned = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise _CheckFailedError(f"fuse(…) must return a dictionary with 'logits'; it returns {returned}.")
        logits: Tensor = outputs["logits"]
        _expect(logits, "its output 'logits'", (len(rows), self.data.outputs))
        return logits

    @torch.no_grad()
    def _check_predictions(self, system: System) -> Iterator[str]:
        """Check that predictions do not depend on other utterances of the batch, on padding or on chance."""
        system.eval()
        together = self._logits(system, self.rows)
        if not together.isfinite().all():
            yield "its output 'logits' is not finite."
            return
        scale = float(together.abs().max()) or 1.0
        alone = torch.cat([self._logits(system, self.rows[number : number + 1]) for number in range(4)])
        if float((alone - together[:4]).abs().max()) > TOLERANCE * scale:
            yield "a prediction depends on the other utterances of its batch, or on the frames after its own."
        padded = dict.fromkeys(self.data.dims, 20)
        if float((self._logits(system, self.rows, padded) - together).abs().max()) > TOLERANCE * scale:
            yield "a prediction depends on padding: ignore frames beyond the lengths of the sequences."
        if not torch.equal(self._logits(system, self.rows), together):
            yield "two predictions of the same batch differ: do not draw random numbers in evaluation mode."

    def _losses(self, system: System) -> dict[str, Tensor]:
        targets = TeacherTargets(self.teacher, self.data) if self.teacher is not None else None
        batch = make_batch(self.data, self.rows, self.flags, targets, system.modalities)
        torch.manual_seed(1)
        with _calling("loss(…) fails"):
            terms = system.loss(system(batch), batch)
        if not isinstance(terms, dict) or not terms:
            raise _CheckFailedError("loss(…) must return a dictionary of the terms of the loss.")
        for term, value in terms.items():
            _expect(value, f"the term '{term}' of its loss", ())
        return terms

    def _check_gradients(self, system: System) -> Iterator[str]:
        """Check that the loss is finite and reproducible, and has a gradient for every parameter."""
        system.train()
        terms = self._losses(system)
        if infinite := [term for term, value in terms.items() if not value.isfinite()]:
            yield f"the term '{infinite[0]}' of its loss is not finite."
            return
        again = self._losses(system)
        if any(not torch.equal(value, again[term]) for term, value in terms.items()):
            yield "its loss differs between two calls with the same seed: use torch's default generator only."
        with _calling("the gradient of its loss fails"):
            summed(terms.values()).backward()
        clipped = {id(parameter) for part in system.subnetworks() for parameter in part.parameters()}
        for name, parameter in system.named_parameters():
            if id(parameter) not in clipped:
                yield f"its parameter '{name}' is in none of its sub-modules, so its gradient is not clipped."
            if parameter.requires_grad and parameter.grad is None:
                yield f"its parameter '{name}' has no gradient: its loss does not depend on it."
            elif parameter.grad is not None and not parameter.grad.isfinite().all():
                yield f"the gradient of its parameter '{name}' is not finite."

    def _check_stacking(self) -> Iterator[Finding]:
        """Check that the repeats of a job can be trained jointly, as on a GPU."""
        regime = "incomplete" if incomplete_conditions(self.data.dims) else "all_noisy"
        training = TrainingSettings(batch_size=UTTERANCES, selection=SELECTING[self.data.target])
        settings = RunSettings("random", self.name, regime, 1, len(REPEATS), training=training)
        teachers = dict.fromkeys(REPEATS, self.teacher) if self.teacher is not None else {}
        with _calling("it cannot be trained"):
            stacked = Stacked(self._system, self.data, settings, REPEATS, teachers)
            reason = stacked.stacking_obstacle(try_first=True)
        if reason:
            yield Finding(f"its repeats cannot be trained jointly, so a GPU trains them one by one: {reason}", False)


@contextmanager
def _calling(call: str) -> Iterator[None]:
    """Run code of the user: any exception ends the checks with one sentence that names the place."""
    try:
        yield
    except (NmerError, _CheckFailedError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split()) or type(error).__name__
        message = f"{call}: {type(error).__name__}: {text} ({place.filename}, line {place.lineno})."
        raise _CheckFailedError(message) from None


def _expect(value: object, name: str, shape: tuple[int | None, ...]) -> None:
    expected = "(" + ", ".join("width" if size is None else str(size) for size in shape) + ")"
    if not isinstance(value, Tensor):
        raise _CheckFailedError(f"{name} must be a tensor {expected}; it is {type(value).__name__}.")
    fits = value.dim() == len(shape) and all(
        size in (None, actual) for size, actual in zip(shape, value.shape, strict=False)
    )
    if not fits:
        raise _CheckFailedError(f"{name} must have the shape {expected}; it has {tuple(value.shape)}.")


def _expect_encoding(encoding: object, name: str, count: int) -> None:
    """Check that an encoding is a tensor, or a named tuple of tensors with the utterances on their first axis."""
    if not isinstance(encoding, tuple):
        _expect(encoding, name, (count, None))
        return
    if not hasattr(encoding, "_fields"):
        raise _CheckFailedError(f"{name} must be a tensor or a NamedTuple of tensors; it is a plain tuple.")
    for field_name, field in zip(encoding._fields, encoding, strict=True):
        if not isinstance(field, Tensor) or field.shape[:1] != (count,):
            shape = tuple(field.shape) if isinstance(field, Tensor) else type(field).__name__
            raise _CheckFailedError(f"{name}: its field '{field_name}' must be a tensor ({count}, …); it is {shape}.")


def _random_fold(dims: dict[str, int], classes: int, folder: Path, target: str) -> FoldData:
    """Create random utterances of 1 to 8 frames, clean and noisy."""
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
