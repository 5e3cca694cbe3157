"""Training the repeats of a job as one: the kernels of a GPU are shared, what each repeat computes stays its own.

A GPU spends most of a step of these small systems on starting kernels, so three repeats in one take little longer than
one. Order, conditions, weights, random draws and selection of every repeat are those that it has alone, and so is its
result but for rounding.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from nmer.errors import TrainingError
from nmer.names import MODALITIES
from nmer.plan.settings import RunSettings, TrainingSettings
from nmer.seeds import derive_seed
from nmer.systems.interface import Batch, Sequences, System, summed
from nmer.systems.repeats import compute_together, for_all
from nmer.training.batches import Shown, shown_in_epoch
from nmer.training.data import FoldData
from nmer.training.loop import (
    CHECKPOINT_SECONDS,
    Best,
    Resumable,
    Row,
    best_kept,
    close_epoch,
    is_whole,
    make_batch,
    mean_terms,
    new_system,
    resume,
    save_progress,
)
from nmer.training.optimiser import AdamW
from nmer.training.precision import loss_terms, products_in
from nmer.training.targets import TeacherTargets


def train_together(
    build: Callable[[], System],
    data: FoldData,
    settings: RunSettings,
    repeats: list[int],
    teachers: Mapping[int, System],
    checkpoint: Path | None = None,
) -> dict[int, tuple[dict[str, Tensor], list[Row]]] | None:
    """Train several repeats as one; per repeat what :func:`train_repeat` returns for it, but for rounding.

    build, checkpoint: as there. teachers: of every repeat, or none. Returns None, having said why, if the system does
    something that cannot be done for several repeats at once.
    Raises TrainingError as :func:`train_repeat` does.
    """
    systems = [new_system(build, data, settings, repeat, teachers.get(repeat)) for repeat in repeats]
    one = SystemsTogether(systems, data.device)
    targets = {repeat: TeacherTargets(teacher, data) for repeat, teacher in teachers.items()}
    reason = one.refusal(data, settings, shown_in_epoch(data, settings, repeats, 0)[0], list(targets.values()))
    if reason:
        print(f"warning: {settings.system}: its repeats are trained one by one, because {reason}", file=sys.stderr)
        return None
    options = settings.training
    optimiser = AdamW(one.parameters.values(), options.learning_rate, options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, options.learning_rate_factor)
    parts: dict[str, Resumable] = {"systems": one, "optimiser": optimiser, "schedule": schedule}
    parts |= {f"targets{repeat}": target for repeat, target in targets.items()}
    best = {repeat: Best(UA=-1.0, weights={}) for repeat in repeats}
    history: dict[int, list[Row]] = {repeat: [] for repeat in repeats}
    if checkpoint is not None and is_whole(checkpoint):
        best, history = resume(checkpoint, data.device, **parts)

    saved = time.monotonic()
    for epoch in range(len(history[repeats[0]]), options.epochs):
        rate = float(schedule.get_last_lr()[0])
        one.seed([derive_seed("epoch", settings.system, settings.dataset, settings.fold, r, epoch) for r in repeats])
        batches = shown_in_epoch(data, settings, repeats, epoch)
        with products_in(options.precision, data.device):
            names, values = one.train_epoch(optimiser, data, settings, batches, list(targets.values()))
        schedule.step()
        sizes = [len(shown.rows) for shown in batches]
        for number in _first_to_break(values):
            repeat = repeats[number]
            try:
                terms = mean_terms(values[:, :, number], names, sizes, settings, repeat, epoch)
            except TrainingError as error:
                raise best_kept(error, checkpoint, repeat, best[repeat], history[repeat]) from None
            best[repeat] = close_epoch(
                systems[number], data, settings, repeat, rate, terms, best[repeat], history[repeat]
            )
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_progress(checkpoint, best, history, **parts)
            saved = time.monotonic()
    if checkpoint is not None:
        save_progress(checkpoint, best, history)
    return {repeat: (best[repeat]["weights"], history[repeat]) for repeat in repeats}


def _first_to_break(values: np.ndarray) -> list[int]:
    """Numbers of the repeats, first the one that was finite for the fewest steps: it breaks the others. values: (steps,
    terms, repeats)."""
    finite_until = np.isfinite(values).all(axis=1).cumprod(axis=0).sum(axis=0)
    order: list[int] = np.argsort(finite_until, kind="stable").tolist()
    return order


class SystemsTogether:
    """Systems of one shape, whose parameters have the repeats on their first axis; each system sees its own part."""

    def __init__(self, systems: list[System], device: torch.device) -> None:
        self.parameters, _buffers = stack_module_state(systems)
        for number, system in enumerate(systems):
            for name, own in system.named_parameters():
                own.data = self.parameters[name].data[number]
        names = {own: name for name, own in systems[0].named_parameters()}
        self._subnetworks = [[names[own] for own in part.parameters()] for part in systems[0].subnetworks()]
        self._systems = systems
        self._generators = [torch.Generator(device) for _ in systems]

    def seed(self, seeds: list[int]) -> None:
        """Begin the random draws of every repeat anew, and those that a system makes for all of them in its own way."""
        torch.manual_seed(seeds[0])
        for own, seed in zip(self._generators, seeds, strict=True):
            own.manual_seed(seed)

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters of all repeats."""
        return self.parameters

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from the parameters of all repeats, in place: every system sees its own."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(state[name])

    def refusal(self, data: FoldData, settings: RunSettings, shown: Shown, targets: list[TeacherTargets]) -> str:
        """Why the repeats cannot be computed together; empty if they can. A copy of them is tried, on a long batch."""
        if list(self._systems[0].buffers()):
            return "it has buffers, in which each would have to note what it has seen."
        longest = {modality: data.longest(modality, data.training_rows) for modality in MODALITIES}
        try:
            tried = SystemsTogether(copy.deepcopy(self._systems), data.device)
            # Twice: a tensor that is kept from one batch to the next is of no use to the second.
            for _step in range(2):
                terms = tried._terms(data, settings, shown._replace(longest=longest), targets)
                summed(terms.values()).sum().backward()
            tried._clip(settings.training.clip_norm)
        except Exception as error:  # a fault of the system itself comes again when it is trained alone
            return (str(error).strip() or type(error).__name__).splitlines()[0]
        return ""

    def train_epoch(
        self,
        optimiser: torch.optim.Optimizer,
        data: FoldData,
        settings: RunSettings,
        batches: list[Shown],
        targets: list[TeacherTargets],
    ) -> tuple[list[str], np.ndarray]:
        """One pass over the training split; returns the loss terms' names and values, (steps, terms, repeats)."""
        steps, names = [], []
        for shown in batches:
            terms = self._terms(data, settings, shown, targets)
            optimiser.zero_grad(set_to_none=True)
            summed(terms.values()).sum().backward()
            self._clip(settings.training.clip_norm)
            optimiser.step()
            names = list(terms)
            steps.append(torch.stack([term.detach() for term in terms.values()]))
        return names, torch.stack(steps).double().cpu().numpy()

    def _terms(
        self, data: FoldData, settings: RunSettings, shown: Shown, targets: list[TeacherTargets]
    ) -> dict[str, Tensor]:
        """The terms of the loss, (repeats,) each."""
        first = self._systems[0].train()
        of_all = _TargetsOfAll(targets) if targets else None
        flat = make_batch(data, shown.rows, shown.noisy, of_all, first.modalities, shown.copies, shown.longest)
        objective = _Objective(first, settings.training)

        def apart(tensor: Tensor) -> Tensor:
            of_repeats: Tensor = tensor.unflatten(0, (len(self._systems), -1))
            return of_repeats

        def own_sequences(modality: str) -> Sequences:
            clean = flat.clean(modality)
            return Sequences(*(for_all(lambda part=part: apart(part)) for part in clean))

        def of_one(
            parameters: dict[str, Tensor], observed: dict[str, Sequences], labels: Tensor, noisy: dict[str, Tensor]
        ) -> Any:
            batch = Batch(
                observed=observed,
                labels=labels,
                noisy=noisy,
                teacher_clean=_Own(flat.teacher_clean, apart),
                teacher_noisy=_Own(flat.teacher_noisy, apart),
                clean=own_sequences,
                deviations=flat.deviations,
            )
            return functional_call(objective, parameters, (batch,))

        terms: dict[str, Tensor] = compute_together(
            of_one,
            self._generators,
            {f"system.{name}": value for name, value in self.parameters.items()},
            {modality: Sequences(*map(apart, sequences)) for modality, sequences in flat.observed.items()},
            apart(flat.labels),
            {modality: apart(flags) for modality, flags in flat.noisy.items()},
        )
        return terms

    def _clip(self, limit: float) -> None:
        """Limit the norm of every sub-network's gradient, repeat by repeat (SPEC 3.3)."""
        for names in self._subnetworks:
            gradients = [self.parameters[name].grad for name in names if self.parameters[name].grad is not None]
            if not gradients:
                continue
            norms = torch.stack([torch.linalg.vector_norm(one.reshape(len(one), -1), dim=1) for one in gradients])
            factor = (limit / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
            for one in gradients:
                one.mul_(factor.reshape(-1, *[1] * (one.dim() - 1)))


class _Objective(nn.Module):
    """A system's loss as a module, which ``functional_call`` asks for."""

    def __init__(self, system: System, options: TrainingSettings) -> None:
        super().__init__()
        self.system = system
        self._options = options

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return loss_terms(self.system, batch, self._options)


class _TargetsOfAll:
    """The targets of several repeats, whose utterances stand in a batch one repeat after another."""

    def __init__(self, targets: list[TeacherTargets]) -> None:
        self._targets = targets

    def of(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """As :meth:`Targets.of`."""
        count = len(self._targets)
        own = zip(self._targets, rows.chunk(count), copies.chunk(count), strict=True)
        return _Joined([targets.of(part, chosen, among) for targets, part, chosen in own])


class _Joined(Mapping[str, Tensor]):
    """Tensors of several mappings one after another, each looked up when it is asked for."""

    def __init__(self, parts: list[Mapping[str, Tensor]]) -> None:
        self._parts = parts

    def __getitem__(self, modality: str) -> Tensor:
        return torch.cat([part[modality] for part in self._parts])

    def __iter__(self) -> Iterator[str]:
        return iter(MODALITIES)

    def __len__(self) -> int:
        return len(MODALITIES)


class _Own(Mapping[str, Tensor]):
    """What one of several repeats finds in a mapping of all of them."""

    def __init__(self, of_all: Mapping[str, Tensor], apart: Callable[[Tensor], Tensor]) -> None:
        self._of_all, self._apart = of_all, apart

    def __getitem__(self, modality: str) -> Tensor:
        return for_all(lambda: self._apart(self._of_all[modality]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._of_all)

    def __len__(self) -> int:
        return len(self._of_all)
