"""The learner of all repeats of a job at once, used on a GPU: stacked weights, each step one CUDA graph.

A GPU spends much of a step of these small systems on launching kernels and on waiting for the longest utterance, so
three stacked repeats take about twice as long as one. Order, conditions, initial weights, random draws and selection of
a repeat are those of ``one_by_one.py``. A step is the same except for rounding. Training amplifies rounding, fastest in
MMIN, whose results then differ as much as with another seed (docs/performance.md: where rounding grows).
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from nmer.plan.settings import RunSettings
from nmer.systems.blocks.branches import branching
from nmer.systems.blocks.encodings import join
from nmer.systems.blocks.repeats import across_repeats, compute_stacked
from nmer.systems.blocks.step_counts import MoreFramesError, reporting, stated_counts
from nmer.systems.interface import Batch, Encoding, Sequences, System, summed
from nmer.training.batches import EpochBatch, epoch_batches, make_batch
from nmer.training.data import FoldData
from nmer.training.graphs import Graphs
from nmer.training.initial_weights import initial_systems
from nmer.training.loop import Losses
from nmer.training.one_by_one import epoch_seed
from nmer.training.optimiser import AdamW
from nmer.training.padded_shapes import PaddedShapes, Padding
from nmer.training.precision import loss_terms
from nmer.training.teacher_targets import LazyEncodings, StackedTargets
from nmer.training.validation_split import ValidationSplit

VALIDATION_BATCH = 4096
"""Utterances encoded or classified at once in validation."""


class Stacked:
    """Repeats of one system whose parameters have the repeats on their first axis. Each system views its part."""

    def __init__(
        self,
        build: Callable[[], System],
        data: FoldData,
        settings: RunSettings,
        repeats: list[int],
        teachers: Mapping[int, System],
    ) -> None:
        """build: creates a system. teachers: one per repeat, or none; as in :class:`OneByOne`."""
        self.repeats, self.device = repeats, data.device
        self._data, self._settings = data, settings
        self._systems = initial_systems(build, data.device, settings, repeats, teachers)
        self._parameters, _buffers = stack_module_state(self._systems)
        for number, system in enumerate(self._systems):
            for name, parameter in system.named_parameters():
                parameter.data = self._parameters[name].data[number]
        options = settings.training
        self._optimiser = AdamW(self._parameters.values(), options.learning_rate, options.weight_decay)
        self._clipping = Clipping(self._systems[0], options.clip_norm)
        self._targets = StackedTargets([teachers[repeat] for repeat in repeats], data) if teachers else None
        self._validation = ValidationSplit(data, settings)
        self._generators = [torch.Generator(self.device) for _ in repeats]
        self._graphs = Graphs(self.device, self._generators, options.graphs != "never", settings.system)
        self._names: list[str] = []
        self._shapes = PaddedShapes(data)
        self._validated = data.splits["val"].cpu().numpy()

    def stacking_obstacle(self, try_first: bool) -> str:
        """Return why the repeats cannot be stacked, or "" if they can.

        try_first: whether to try a copy on a long batch and in validation, which finds operations that ``torch.vmap``
        rejects.
        """
        system = self._systems[0]
        if list(system.buffers()):
            return "it has buffers, which every repeat would have to update separately."
        if len(list(system.named_parameters(remove_duplicate=False))) > len(self._parameters):
            return "several of its layers share parameters."
        if not try_first:
            return ""
        try:
            with reporting():
                self._try()
        except MoreFramesError:
            self._shapes.remove_bounds()
            return self.stacking_obstacle(try_first)
        except Exception as error:  # a bug of the system appears again when repeats are trained one by one
            return (str(error).strip() or type(error).__name__).splitlines()[0]
        return ""

    def _try(self) -> None:
        """Compute two steps and validate with a copy of the first system. Raises what it or ``torch.vmap`` raises."""
        batch = epoch_batches(self._data, self._settings, self.repeats, 0)[0]
        padding = self._shapes.of_training(batch, full=False)
        original = self._systems[0]
        tried = copy.deepcopy(original)
        changed: list[str] = []

        def encode(*given: Any, **named: Any) -> Encoding:
            found = type(tried).encode(tried, *given, **named)
            changed.extend(name for name in changed_attributes(original, tried) if name != "encode")
            return found

        try:
            self._systems[0] = tried
            # Parallel branches must not read what another one keeps, even if fusion removes it.
            tried.encode = encode  # type: ignore[method-assign]
            # Twice, because a tensor kept from the first batch fails in the second.
            for _step in range(2):
                flat = self._gathered(batch.rows, batch.noisy, batch.copies, padding)
                summed(self._terms(flat, padding).values()).sum().backward()
            del tried.encode
            if changed := changed + changed_attributes(original, tried):
                self._graphs.disable(f"a step changes its attribute '{changed[0]}', which a replay would not do.")
            tried.eval()
            with torch.no_grad():
                self._predictions()
        finally:
            self._systems[0] = original
            self._optimiser.zero_grad(set_to_none=True)

    def train_epoch(self, epoch: int, learning_rate: float) -> Losses:
        """Same as :meth:`Learner.train_epoch`."""
        seeds = [epoch_seed(self._settings, repeat, epoch) for repeat in self.repeats]
        # Systems that draw for all repeats in their own code use the default generator.
        torch.manual_seed(seeds[0])
        for generator, seed in zip(self._generators, seeds, strict=True):
            generator.manual_seed(seed)
        self._optimiser.set_learning_rate(learning_rate)
        self._systems[0].train()
        batches = epoch_batches(self._data, self._settings, self.repeats, epoch)
        with self._graphs.stream():
            steps = [self._train_batch(batch, full=len(batch.rows) == len(batches[0].rows)) for batch in batches]
            # Losses are read once per epoch: each read synchronises the GPU.
            values = torch.stack(steps).double().cpu().numpy()
        return Losses(self._names, values, [len(batch.rows) for batch in batches])

    def _train_batch(self, batch: EpochBatch, full: bool) -> Tensor:
        """Train one step. Returns its loss terms, (terms, repeats)."""
        padding = self._shapes.of_training(batch, full)

        def step(rows: Tensor, noisy: Tensor, copies: Tensor) -> Tensor:
            self._optimiser.zero_grad(set_to_none=True)
            flat = self._gathered(rows, noisy, copies, padding)
            # A system that keeps state between calls, for which graphs are disabled, may read it in another branch.
            with branching(self.device, flat) if self._graphs.capturing else nullcontext():
                terms = self._terms(flat, padding)
                summed(terms.values()).sum().backward()
            self._clipping.clip(self._parameters)
            self._optimiser.require_state()
            self._optimiser.step()
            self._names = list(terms)
            return torch.stack([term.detach() for term in terms.values()])

        return self._graphs.call(padding.key, step, batch.rows, batch.noisy, batch.copies)

    def _gathered(self, rows: Tensor, noisy: Tensor, copies: Tensor, padding: Padding) -> Batch:
        """Return the batch of all repeats, concatenated. rows, noisy, copies: as in :class:`EpochBatch`."""
        modalities = self._systems[0].modalities
        return make_batch(self._data, rows, noisy, self._targets, modalities, copies, padding.longest)

    def _terms(self, flat: Batch, padding: Padding) -> dict[str, Tensor]:
        """Return the terms of the loss, (repeats,) each."""
        system = self._systems[0]

        def by_repeat(tensor: Tensor) -> Tensor:
            split: Tensor = tensor.unflatten(0, (len(self.repeats), -1))
            return split

        def clean_sequences(modality: str) -> Sequences:
            clean = flat.clean(modality)
            return Sequences(*(across_repeats(lambda part=part: by_repeat(part)) for part in clean))

        def lazy_targets(targets: Mapping[str, Tensor]) -> LazyEncodings:
            return LazyEncodings(tuple(targets), lambda modality: across_repeats(lambda: by_repeat(targets[modality])))

        def one_repeat(
            parameters: dict[str, Tensor], observed: dict[str, Sequences], labels: Tensor, noisy: dict[str, Tensor]
        ) -> Any:
            repeat_batch = Batch(
                observed=observed,
                labels=labels,
                noisy=noisy,
                teacher_clean=lazy_targets(flat.teacher_clean),
                teacher_noisy=lazy_targets(flat.teacher_noisy),
                clean=clean_sequences,
                deviations=flat.deviations,
            )
            return _call(system, parameters, lambda: loss_terms(system, repeat_batch, self._settings.training))

        with stated_counts(padding.counts):
            terms: dict[str, Tensor] = compute_stacked(
                one_repeat,
                self._generators,
                self._parameters,
                {modality: Sequences(*map(by_repeat, sequences)) for modality, sequences in flat.observed.items()},
                by_repeat(flat.labels),
                {modality: by_repeat(flags) for modality, flags in flat.noisy.items()},
            )
        return terms

    def validate(self) -> list[dict[str, float]]:
        """Same as :meth:`Learner.validate`. One pass scores all repeats and is the same in every epoch."""
        self._systems[0].eval()
        with self._graphs.stream(), torch.no_grad():
            predictions = self._graphs.call("validation", self._predictions).cpu().numpy()
        return [self._validation.scores(of_repeat) for of_repeat in predictions]

    def _predictions(self) -> Tensor:
        """Predict the validation split with every repeat. Format: :meth:`ValidationSplit.to_predictions`."""
        system, data = self._systems[0], self._data

        def encode(modality: str, rows: Tensor, copies: Tensor) -> Encoding:
            def one_repeat(parameters: dict[str, Tensor], values: Tensor, lengths: Tensor) -> Encoding:
                return _call(system, parameters, lambda: system.encode(modality, Sequences(values, lengths)))

            # Every utterance once per state.
            utterances = np.tile(self._validated, len(rows) // len(self._validated))
            longest = data.longest(modality, self._validated)
            parts = []
            for start in range(0, len(rows), VALIDATION_BATCH):
                part = slice(start, start + VALIDATION_BATCH)
                sequences = data.sequences(modality, rows[part], copies[part], longest)
                shared = [each.expand(len(self.repeats), *each.shape) for each in sequences]
                with stated_counts(self._shapes.of_validation(modality, utterances[part], longest)):
                    parts.append(compute_stacked(one_repeat, self._generators, self._parameters, *shared))
            return join(parts, axis=1)

        def classify(encodings: dict[str, Encoding], noisy: dict[str, Tensor]) -> Tensor:
            def one_repeat(
                parameters: dict[str, Tensor], observed: dict[str, Encoding], flags: dict[str, Tensor]
            ) -> Tensor:
                logits: Tensor = _call(system, parameters, lambda: system.fuse_observed(observed, flags)["logits"])
                return logits

            expanded = {modality: flags.expand(len(self.repeats), -1) for modality, flags in noisy.items()}
            return self._validation.to_predictions(
                compute_stacked(one_repeat, self._generators, self._parameters, encodings, expanded)
            )

        return self._validation.predict(system.modalities, encode, classify, VALIDATION_BATCH, axis=1)

    def weights(self, repeat: int) -> dict[str, Tensor]:
        """Same as :meth:`Learner.weights`."""
        number = self.repeats.index(repeat)
        return {name: value.detach()[number].clone() for name, value in self._parameters.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters of all repeats and the state of the optimiser."""
        return {"parameters": self._parameters, "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state. Parameters change in place, because systems view them."""
        with torch.no_grad():
            for name, value in self._parameters.items():
                value.copy_(state["parameters"][name])
        self._optimiser.load_state_dict(state["optimiser"])


def changed_attributes(before: nn.Module, after: nn.Module) -> list[str]:
    """Return attributes, other than parameters, in which a module differs from its copy, or may differ."""
    pairs = zip(before.named_modules(), after.named_modules(), strict=True)
    return [
        f"{path}.{name}".lstrip(".")
        for (path, one), (_path, other) in pairs
        for name in sorted((vars(one).keys() | vars(other).keys()) - {"_parameters", "_buffers", "_modules"})
        if not _equal(vars(one).get(name), vars(other).get(name))
    ]


def _equal(one: Any, other: Any) -> bool:
    if one is other or isinstance(one, weakref.ref):  # torch's LSTMs keep weak references to their parameters
        return True
    try:
        if isinstance(one, Tensor):
            return torch.equal(one, other)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(map(_equal, one, other))
        return type(one) is type(other) and (bool(one == other) or (bool(vars(one)) and _equal(vars(one), vars(other))))
    except Exception:  # a custom comparison may raise anything
        return False


class Clipping:
    """Limits the norm of every sub-network's gradient, repeat by repeat (SPEC 3.3)."""

    def __init__(self, system: System, limit: float) -> None:
        """system: one of the repeats. limit: largest norm."""
        self._names = [name for name, _parameter in system.named_parameters()]
        parts = [set(part.parameters()) for part in system.subnetworks()]
        own = [[parameter in part for parameter in system.parameters()] for part in parts]
        device = next(system.parameters()).device
        self._own = torch.tensor(own, dtype=torch.bool, device=device).reshape(len(parts), len(self._names), 1)
        self._limit = limit

    def clip(self, parameters: dict[str, nn.Parameter]) -> None:
        """Scale the gradients of stacked parameters in place. parameters: by name, the repeats on the first axis."""
        gradients = {name: value.grad for name, value in parameters.items() if value.grad is not None}
        if not gradients:
            return
        repeats = len(next(iter(gradients.values())))
        # Few kernels for all sub-networks, because a GPU needs as long for a small one as for many numbers.
        each = torch._foreach_norm([part for gradient in gradients.values() for part in gradient.unbind()])
        found = dict(zip(gradients, torch.stack(each).unflatten(0, (-1, repeats)), strict=True))
        norms = torch.stack([found[name] if name in found else each[0].new_zeros(repeats) for name in self._names])
        totals = torch.where(self._own, norms.square(), 0.0).sum(dim=1).sqrt()
        factors = (self._limit / (totals + 1e-6)).clamp(max=1.0)
        for name, own in zip(self._names, torch.where(self._own, factors[:, None], 1.0).prod(dim=0), strict=True):
            if name in gradients:
                gradients[name].mul_(own.view(-1, *[1] * (gradients[name].dim() - 1)))


class _CallModule(nn.Module):
    """A module around a system whose forward is any call, for ``functional_call``."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()


def _call(system: System, parameters: dict[str, Tensor], call: Callable[[], Any]) -> Any:
    """Return ``call()`` while the system has the given parameters."""
    named = {f"system.{name}": value for name, value in parameters.items()}
    return functional_call(_CallModule(system), named, (call,))
