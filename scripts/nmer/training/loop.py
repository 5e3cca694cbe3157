"""The training loop, one for all systems: seeded, clipped, selected by validation UA, resumable (SPEC 3.3, 3.4)."""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor

from nmer.errors import TrainingError
from nmer.files import atomic_path
from nmer.metrics import score
from nmer.names import MODALITIES
from nmer.plan.conditions import (
    FRESH_COPY,
    NOISY_FLAGS,
    ONE_CONDITION,
    validation_items,
)
from nmer.plan.settings import RunSettings
from nmer.seeds import derive_seed
from nmer.systems.interface import Batch, Sequences, System, summed
from nmer.systems.repeats import drawn_alike
from nmer.training.batches import shown_in_epoch
from nmer.training.data import FoldData
from nmer.training.inference import encode_rows, probabilities
from nmer.training.optimiser import AdamW
from nmer.training.precision import loss_terms, products_in
from nmer.training.targets import Targets, TeacherTargets
from nmer.training.versions import versions_text

if TYPE_CHECKING:
    from nmer.noisy_embeddings.fresh_noise import FreshNoise

CHECKPOINT_SECONDS = 30

Row = dict[str, Any]
"""What an epoch leaves in the history."""


class Best(TypedDict):
    """Weights of the epoch with the best validation UA so far, and that UA."""

    UA: float
    weights: dict[str, Tensor]


class Resumable(Protocol):
    """A part of a training whose state is in its checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Go on from a state."""


def train_repeat(
    build: Callable[[], System],
    data: FoldData,
    settings: RunSettings,
    repeat: int,
    teacher: System | None = None,
    checkpoint: Path | None = None,
    fresh: FreshNoise | None = None,
) -> tuple[dict[str, Tensor], list[Row]]:
    """Train one repeat and return the weights of its best epoch and one history row per epoch.

    build: makes the freshly initialised system. teacher: frozen, pretrained on the same fold and repeat; the system
    starts from its weights. checkpoint: file to resume from and to save progress to. fresh: draws the noise of every
    epoch, where ``settings.train_draws`` asks for it; the data then have a spare copy, FRESH_COPY.
    Training, selection and resuming depend on names and epoch numbers only, so a resumed training equals an
    uninterrupted one.
    Raises TrainingError if a term of the loss is not finite; the best weights until then stay beside the checkpoint.
    """
    names = (settings.dataset, settings.fold, repeat)
    system = new_system(build, data, settings, repeat, teacher)
    options = settings.training
    optimiser = AdamW(system.parameters(), options.learning_rate, options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, options.learning_rate_factor)
    targets = TeacherTargets(teacher, data) if teacher is not None else None
    parts: dict[str, Resumable] = {"system": system, "optimiser": optimiser, "schedule": schedule}
    parts |= {"targets": targets} if targets is not None else {}
    best, history = Best(UA=-1.0, weights={}), list[Row]()
    if checkpoint is not None and is_whole(checkpoint):
        best, history = resume(checkpoint, data.device, **parts)

    saved = time.monotonic()
    for epoch in range(len(history), options.epochs):
        rate = float(schedule.get_last_lr()[0])
        if fresh is not None:
            fresh.draw(data, FRESH_COPY, repeat, epoch)
            if targets is not None:
                targets.forget(FRESH_COPY)
        torch.manual_seed(derive_seed("epoch", settings.system, *names, epoch))
        try:
            with products_in(options.precision, data.device), drawn_alike(data.device):
                terms = train_epoch(system, optimiser, data, settings, repeat, epoch, targets)
        except TrainingError as error:
            raise best_kept(error, checkpoint, repeat, best, history) from None
        schedule.step()
        best = close_epoch(system, data, settings, repeat, rate, terms, best, history)
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_progress(checkpoint, best, history, **parts)
            saved = time.monotonic()
    if checkpoint is not None:
        save_progress(checkpoint, best, history)
    return best["weights"], history


def new_system(
    build: Callable[[], System], data: FoldData, settings: RunSettings, repeat: int, teacher: System | None
) -> System:
    """A system as a repeat begins with it: its own initial weights, and those that it inherits from its teacher."""
    torch.manual_seed(derive_seed("weights", settings.system, settings.dataset, settings.fold, repeat))
    system = build().to(data.device)
    if teacher is not None:
        system.inherit(teacher)
    return system


def train_epoch(
    system: System,
    optimiser: torch.optim.Optimizer,
    data: FoldData,
    settings: RunSettings,
    repeat: int,
    epoch: int,
    targets: TeacherTargets | None,
) -> dict[str, float]:
    """One pass over the training split; returns the mean of every loss term. The last, smaller batch is kept.

    targets: of the teacher, for a system that has one.
    """
    batches = shown_in_epoch(data, settings, [repeat], epoch)
    steps: list[Tensor] = []
    names: list[str] = []
    system.train()
    for shown in batches:
        batch = make_batch(data, shown.rows, shown.noisy, targets, system.modalities, shown.copies, shown.longest)
        terms = loss_terms(system, batch, settings.training)
        optimiser.zero_grad(set_to_none=True)
        summed(terms.values()).backward()
        for subnetwork in system.subnetworks():
            torch.nn.utils.clip_grad_norm_(subnetwork.parameters(), settings.training.clip_norm)
        optimiser.step()
        names = list(terms)
        steps.append(torch.stack([term.detach() for term in terms.values()]))
    # Looked at once an epoch, not once a step: reading a number makes a GPU wait.
    values = torch.stack(steps).double().cpu().numpy()
    return mean_terms(values, names, [len(shown.rows) for shown in batches], settings, repeat, epoch)


def mean_terms(
    values: np.ndarray, names: list[str], sizes: list[int], settings: RunSettings, repeat: int, epoch: int
) -> dict[str, float]:
    """An epoch's loss and the mean of each of its terms. values: (steps, terms). sizes: utterances of every step.

    Raises TrainingError if one is not finite."""
    if not np.isfinite(values).all():
        # The first to go: it makes the weights, and so every later term, not-a-number as well.
        step, term = np.argwhere(~np.isfinite(values))[0]
        raise TrainingError(
            f"{settings.system} on {settings.dataset}, fold {settings.fold}, repeat {repeat}, epoch {epoch + 1}: the "
            f"loss term '{names[term]}' is {values[step, term]}. Lower training.learning_rate or its weight."
        )
    means = dict(zip(names, np.average(values, axis=0, weights=sizes).tolist(), strict=True))
    return {"loss": sum(means.values())} | {f"loss_{name}": value for name, value in means.items()}


def make_batch(
    data: FoldData,
    rows: Tensor,
    noisy: Tensor,
    targets: Targets | None = None,
    modalities: Iterable[str] = MODALITIES,
    copies: Tensor | None = None,
    longest: Mapping[str, int] | None = None,
) -> Batch:
    """A batch of utterances. rows: (batch,); noisy: (batch, 3) bool in the order a, v, l; targets: of the teacher, if
    there is one; modalities: those that the system reads; copies: (batch,) which of its noisy copies each utterance
    shows where it is noisy, the first if not given; longest: per modality the frames to pad to, if known."""
    flags = {modality: noisy[:, number] for number, modality in enumerate(MODALITIES)}
    shown, clean = torch.ones_like(rows) if copies is None else copies, torch.zeros_like(rows)
    frames = longest or {}

    def sequences(modality: str, chosen: Tensor) -> Sequences:
        return data.sequences(modality, rows, chosen, frames.get(modality))

    return Batch(
        observed={modality: sequences(modality, flags[modality] * shown) for modality in modalities},
        labels=data.labels[rows],
        noisy=flags,
        teacher_clean=targets.of(rows, clean, (0,)) if targets is not None else {},
        teacher_noisy=targets.of(rows, shown, data.noisy_copies) if targets is not None else {},
        clean=lambda modality: sequences(modality, clean),
        deviations=data.deviations,
    )


def close_epoch(
    system: System,
    data: FoldData,
    settings: RunSettings,
    repeat: int,
    rate: float,
    terms: dict[str, float],
    best: Best,
    history: list[Row],
) -> Best:
    """Validate, add the epoch's row to the history, and return the best weights so far with their validation UA.

    rate: the epoch's learning rate. terms: as :func:`train_epoch` returns them. best: until now."""
    validation = validate(system, data, settings)
    row = {"repeat": repeat, "epoch": len(history) + 1, "learning_rate": rate} | terms | validation
    # Row by row, for a training may be interrupted by an upgrade.
    history.append(row | {"versions": versions_text()})
    if validation["val_UA"] <= best["UA"]:
        return best
    weights = {key: value.detach().clone() for key, value in system.state_dict().items()}
    return Best(UA=validation["val_UA"], weights=weights)


def best_kept(
    error: TrainingError, checkpoint: Path | None, repeat: int, best: Best, history: list[Row]
) -> TrainingError:
    """The error of a training that ends early, having put its best weights in a file beside the checkpoint."""
    if checkpoint is None or not history:
        return error
    # A file of its own: what is resumed must go on from the last epoch, not from the best one.
    kept = checkpoint.with_name(f"repeat{repeat}_best.pt")
    save_progress(kept, best, history)
    epoch = max(history, key=lambda row: row["val_UA"])["epoch"]
    return TrainingError(f"{error} The best weights so far, of epoch {epoch}: {kept}.")


def validate(system: System, data: FoldData, settings: RunSettings) -> dict[str, float]:
    """WA, UA and F1 on the validation split, pooled over the regime's conditions (SPEC 3.4)."""
    rows = data.splits["val"]
    items = validation_items(
        settings.regime, settings.evaluation, settings.dataset, [data.ids[row] for row in rows.tolist()]
    )
    if settings.regime == "six" and settings.evaluation == ONE_CONDITION:
        # Every utterance is seen in one state of each modality: the other is not encoded.
        clean = noisy = encode_rows(system, data, rows, _shown_copies(items, rows))
    else:
        clean = {} if settings.regime == "all" else encode_rows(system, data, rows, 0)
        noisy = {} if settings.regime == "clean" else encode_rows(system, data, rows, 1)
    labels, predictions = [], []
    for condition, positions in items.items():
        chosen = torch.from_numpy(positions).to(data.device)
        predictions.append(probabilities(system, clean, noisy, condition, chosen).argmax(dim=1))
        labels.append(data.labels[rows[chosen]])
    scores = score(torch.cat(labels).cpu().numpy(), torch.cat(predictions).cpu().numpy(), len(data.classes))
    return {f"val_{name}": value for name, value in scores.items()}


def _shown_copies(items: dict[str, np.ndarray], rows: Tensor) -> dict[str, Tensor]:
    """Per modality (rows,): 0 where the row's one condition has it clean, 1 where noisy. items: positions in rows."""
    flags = np.zeros((len(rows), len(MODALITIES)), np.int64)
    for condition, positions in items.items():
        flags[positions] = NOISY_FLAGS[condition]
    copies = torch.from_numpy(flags).to(rows.device)
    return {modality: copies[:, number] for number, modality in enumerate(MODALITIES)}


def save_progress(
    path: Path, best: Best | dict[int, Best], history: list[Row] | dict[int, list[Row]], **parts: Resumable
) -> None:
    """Write a checkpoint: best weights and history so far, and the states of what is needed to go on."""
    # A finished repeat needs no more than its best weights: the optimiser's state is twice the size of the system.
    state = {"best": best, "history": history} | {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # What torch says of its archive hides what the disk said.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and undamaged, by the checksums inside; from a damaged one nothing is resumed."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except FileNotFoundError:
        return False
    except zipfile.BadZipFile:
        damaged = True
    if damaged:
        print(f"warning: {path}: is damaged and is not used. The training starts from its beginning.", file=sys.stderr)
    return not damaged


def resume(path: Path, device: torch.device, **parts: Resumable) -> tuple[Any, Any]:
    """Bring the parts to a checkpoint's state; returns its best weights and its history."""
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        if name in state:
            part.load_state_dict(state[name])
    return state["best"], state["history"]
