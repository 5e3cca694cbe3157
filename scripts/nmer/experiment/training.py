"""The training loop, one for all systems: seeded, clipped, selected by validation UA, resumable (SPEC 3.3, 3.4)."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nmer.errors import TrainingError
from nmer.experiment.conditions import (
    FRESH_COPY,
    NOISY_FLAGS,
    ONE_CONDITION,
    training_copies,
    training_flags,
    validation_items,
)
from nmer.experiment.data import FoldData
from nmer.experiment.inference import encode_rows, probabilities
from nmer.experiment.optimiser import AdamW
from nmer.experiment.settings import RunSettings
from nmer.experiment.targets import TeacherTargets
from nmer.experiment.versions import versions_text
from nmer.files import atomic_path
from nmer.metrics import score
from nmer.names import MODALITIES
from nmer.seeds import derive_seed, generator
from nmer.systems.interface import Batch, System

if TYPE_CHECKING:
    from nmer.experiment.fresh_noise import FreshNoise

CHECKPOINT_SECONDS = 30


def train_repeat(
    build: Callable[[], System],
    data: FoldData,
    settings: RunSettings,
    repeat: int,
    teacher: System | None = None,
    checkpoint: Path | None = None,
    fresh: FreshNoise | None = None,
) -> tuple[dict[str, Tensor], list[dict]]:
    """Train one repeat and return the weights of its best epoch and one history row per epoch.

    build: makes the freshly initialised system. teacher: frozen, pretrained on the same fold and repeat; the system
    starts from its weights. checkpoint: file to resume from and to save progress to. fresh: draws the noise of every
    epoch, where ``settings.train_draws`` asks for it; the data then have a spare copy, FRESH_COPY.
    Training, selection and resuming depend on names and epoch numbers only, so a resumed training equals an
    uninterrupted one.
    Raises TrainingError if a term of the loss is not finite; the best weights until then stay beside the checkpoint.
    """
    names = (settings.dataset, settings.fold, repeat)
    torch.manual_seed(derive_seed("weights", settings.system, *names))
    system = build().to(data.device)
    if teacher is not None:
        system.inherit(teacher)
    options = settings.training
    optimiser = AdamW(system.parameters(), options.learning_rate, options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, options.learning_rate_factor)
    targets = TeacherTargets(teacher, data) if teacher is not None else None
    parts = {"system": system, "optimiser": optimiser, "schedule": schedule}
    parts |= {"targets": targets} if targets is not None else {}
    best, history = {"UA": -1.0, "weights": {}}, []
    if checkpoint is not None and _is_whole(checkpoint):
        best, history = _resume(checkpoint, data.device, **parts)

    saved = time.monotonic()
    for epoch in range(len(history), options.epochs):
        rate = schedule.get_last_lr()[0]
        if fresh is not None:
            fresh.draw(data, FRESH_COPY, repeat, epoch)
            if targets is not None:
                targets.forget(FRESH_COPY)
        torch.manual_seed(derive_seed("epoch", settings.system, *names, epoch))
        try:
            terms = train_epoch(system, optimiser, data, settings, repeat, epoch, targets)
        except TrainingError as error:
            if checkpoint is None or not history:
                raise
            # A file of its own: what is resumed must go on from the last epoch, not from the best one.
            kept = checkpoint.with_name(f"{checkpoint.stem}_best.pt")
            _save(kept, best, history)
            raise TrainingError(f"{error} The best weights so far, of epoch {_best_epoch(history)}: {kept}.") from None
        schedule.step()
        validation = validate(system, data, settings)
        row = {"repeat": repeat, "epoch": epoch + 1, "learning_rate": rate} | terms | validation
        # Row by row, for a training may be interrupted by an upgrade.
        history.append(row | {"versions": versions_text()})
        if validation["val_UA"] > best["UA"]:
            weights = {key: value.detach().clone() for key, value in system.state_dict().items()}
            best = {"UA": validation["val_UA"], "weights": weights}
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(checkpoint, best, history, **parts)
            saved = time.monotonic()
    if checkpoint is not None:
        _save(checkpoint, best, history)
    return best["weights"], history


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
    names = (settings.dataset, settings.fold, repeat, epoch)
    rows = data.splits["train"]
    order = torch.from_numpy(generator("training order", *names).permutation(len(rows))).to(data.device)
    flags = training_flags(settings.regime, len(rows), *names)
    noisy = torch.from_numpy(flags).to(data.device)
    copies = torch.from_numpy(training_copies(settings.train_draws, len(rows), *names)).to(data.device)
    steps: list[Tensor] = []
    terms_logged: list[str] = []
    system.train()
    parts = order.split(settings.training.batch_size)
    for part in parts:
        batch = make_batch(data, rows[part], noisy[part], targets, system.modalities, copies[part])
        terms = system.loss(system(batch), batch)
        optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        for subnetwork in system.subnetworks():
            torch.nn.utils.clip_grad_norm_(subnetwork.parameters(), settings.training.clip_norm)
        optimiser.step()
        terms_logged = list(terms)
        steps.append(torch.stack([term.detach() for term in terms.values()]))
    # Looked at once an epoch, not once a step: reading a number makes a GPU wait.
    values = torch.stack(steps).double().cpu().numpy()
    if not np.isfinite(values).all():
        # The first to go: it makes the weights, and so every later term, not-a-number as well.
        step, term = np.argwhere(~np.isfinite(values))[0]
        raise TrainingError(
            f"{settings.system} on {settings.dataset}, fold {settings.fold}, repeat {repeat}, epoch {epoch + 1}: the "
            f"loss term '{terms_logged[term]}' is {values[step, term]}. Lower training.learning_rate or its weight."
        )
    sizes = [len(part) for part in parts]
    means = dict(zip(terms_logged, np.average(values, axis=0, weights=sizes).tolist(), strict=True))
    return {"loss": sum(means.values())} | {f"loss_{name}": value for name, value in means.items()}


def make_batch(
    data: FoldData,
    rows: Tensor,
    noisy: Tensor,
    targets: TeacherTargets | None = None,
    modalities: Iterable[str] = MODALITIES,
    copies: Tensor | None = None,
) -> Batch:
    """A batch of utterances. rows: (batch,); noisy: (batch, 3) bool in the order a, v, l; targets: of the teacher, if
    there is one; modalities: those that the system reads; copies: (batch,) which of its noisy copies each utterance
    shows where it is noisy, the first if not given."""
    flags = {modality: noisy[:, number] for number, modality in enumerate(MODALITIES)}
    shown = torch.ones_like(rows) if copies is None else copies
    return Batch(
        observed={modality: data.sequences(modality, rows, flags[modality] * shown) for modality in modalities},
        labels=data.labels[rows],
        noisy=flags,
        teacher_clean=targets.of(rows, torch.zeros_like(rows)) if targets is not None else {},
        teacher_noisy=targets.of(rows, shown) if targets is not None else {},
        clean=lambda modality: data.sequences(modality, rows, torch.zeros_like(rows)),
        deviations=data.deviations,
    )


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


def _best_epoch(history: list[dict]) -> int:
    return max(history, key=lambda row: row["val_UA"])["epoch"]


def _save(path: Path, best: dict, history: list[dict], **parts) -> None:
    # A finished repeat needs no more than its best weights: the optimiser's state is twice the size of the system.
    state = {"best": best, "history": history} | {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        # Written by Python, whose errors say what is wrong with the disk.
        temporary.write_bytes(buffer.getbuffer())


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and undamaged, by the checksums inside; from a damaged one nothing is resumed."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except FileNotFoundError:
        return False
    except zipfile.BadZipFile:
        damaged = True
    if damaged:
        print(f"warning: {path}: is damaged and is not used. This repeat starts from its beginning.", file=sys.stderr)
    return not damaged


def _resume(path: Path, device: torch.device, **parts) -> tuple[dict, list[dict]]:
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        if name in state:
            part.load_state_dict(state[name])
    return state["best"], state["history"]
