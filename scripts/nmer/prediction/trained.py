"""A trained system out of a model file, and class probabilities or scores for new features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmer.corpora.repair import repair
from nmer.errors import ConfigError, DataError
from nmer.metrics import SCORE
from nmer.systems.building import build_system
from nmer.systems.interface import Sequences, System
from nmer.training.inference import BATCH, classify, encode, logits
from nmer.training.models import load_normalisation, load_settings, restore


@dataclass(frozen=True)
class TrainedSystem:
    """One repeat of a training, ready to be applied.

    system: in evaluation mode. classes: names in the order of the probabilities, none where it predicts scores.
    dims: width per modality. normalisation: modality -> mean and standard deviation, each (dim,), of the training
    split; a modality whose features the system takes unchanged is absent. settings: of the training. repeat: which of
    its repeats.
    """

    system: System
    classes: list[str]
    dims: dict[str, int]
    normalisation: dict[str, tuple[np.ndarray, np.ndarray]]
    settings: dict[str, Any]
    repeat: int

    def predict(self, features: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
        """Class probabilities, (utterances, classes) float32, or predicted scores, (utterances,) float32.

        features: per modality that the system reads one array (frames, dim) for each utterance, in the same order, in
        the units of the training corpus; values that are not finite count as 0, as in the workflow. Raises DataError
        for a missing modality, another width, an utterance without frames, or different numbers of utterances.
        """
        batches = {modality: self._checked(modality, features) for modality in self.system.modalities}
        counts = {modality: len(batch) for modality, batch in batches.items()}
        if len(set(counts.values())) != 1:
            raise DataError(f"Modalities have different numbers of utterances: {counts}.")
        rows = torch.arange(next(iter(counts.values())))
        if not len(rows):
            return np.empty((0, len(self.classes)) if self.classes else 0, np.float32)
        served = _Served(batches)
        return np.concatenate([self._probabilities(served, own) for own in rows.split(BATCH)])

    def _probabilities(self, served: _Served, rows: Tensor) -> np.ndarray:
        """Of a part of the utterances: their encodings may be sequences, which are large."""
        encodings = {m: encode(self.system, served, m, rows, torch.zeros_like(rows)) for m in self.system.modalities}
        if self.classes:
            probabilities: np.ndarray = classify(self.system, encodings, {}).numpy()
            return probabilities
        scores: np.ndarray = logits(self.system, encodings, {})[:, 0].numpy()
        return scores

    def _checked(self, modality: str, features: Mapping[str, Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Utterances of a modality, each (frames, dim) float32, normalised."""
        if modality not in features:
            raise DataError(f"Modality '{modality}' is missing; the system reads {', '.join(self.system.modalities)}.")
        mean, std = (part.astype(np.float32) for part in self.normalisation.get(modality, (np.zeros(1), np.ones(1))))
        checked = []
        for number, values in enumerate(features[modality]):
            values = np.asarray(values)
            whole = values.ndim == 2 and values.shape[1:] == (self.dims[modality],) and len(values) > 0
            if not whole or values.dtype.kind not in "biuf":
                raise DataError(
                    f"Utterance {number} has {values.dtype} {values.shape} in modality '{modality}'; the model was "
                    f"trained on numbers (frames, {self.dims[modality]})."
                )
            frames, _counts = repair(values)
            if modality in self.normalisation:
                frames -= mean
                frames /= std
            checked.append(frames)
        return checked


class _Served:
    """Normalised utterances in memory as padded batches."""

    def __init__(self, utterances: Mapping[str, list[np.ndarray]]) -> None:
        self._utterances = utterances

    def sequences(self, modality: str, rows: Tensor, _copies: Tensor) -> Sequences:
        """Padded sequences of some utterances."""
        chosen = [torch.from_numpy(self._utterances[modality][row]) for row in rows.tolist()]
        lengths = torch.tensor([len(frames) for frames in chosen])
        return Sequences(torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True), lengths)


def _describes_a_model(settings: object) -> bool:
    """Whether the description in a file says how to build its system; it may be of any origin."""
    if not isinstance(settings, dict):
        return False
    dims, classes, options = settings.get("dims"), settings.get("classes"), settings.get("options", {})
    return (
        isinstance(settings.get("system"), str)
        and isinstance(options, dict)
        and isinstance(dims, dict)
        and all(isinstance(dim, int) and dim > 0 for dim in dims.values())
        and isinstance(classes, list)
        and (not classes if settings.get("target") == SCORE else len(classes) > 1)
        and all(isinstance(name, str) for name in classes)
    )


def load_trained(path: str | Path, repeat: int = 1, file: str | Path | None = None) -> TrainedSystem:
    """A trained system from the workflow's ``model.safetensors``.

    file: the Python file of a system of one's own; a path that stands in a model is never executed by itself.
    Raises DataError if the file is damaged, no model of this workflow, or lacks the repeat, ConfigError if the system
    is unknown or needs its file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a model.safetensors of a finished training.")
    try:
        settings = load_settings(path)
    except (DataError, ValueError):
        raise DataError(f"{path}: not a model. Give a model.safetensors of a finished training.") from None
    if not _describes_a_model(settings):
        raise DataError(f"{path}: not a model that this version of the workflow trained. Train it again.")
    if settings.get("file") and file is None:
        raise ConfigError(
            f"{path}: its system '{settings['system']}' is in a file of its own, {settings['file']}. Give the file, if "
            "you trust it."
        )
    options, dims, classes = settings.get("options", {}), settings["dims"], settings["classes"]
    system = build_system(settings["system"], dims, len(classes) or 1, 0.0, options, str(file) if file else None)
    if system.noise_flags:
        raise ConfigError(
            f"{path}: its system '{settings['system']}' was trained with noise_flags, so it must be told which "
            "modality is noisy. Train it without them to predict."
        )
    restore(system, path, repeat)
    return TrainedSystem(system.eval(), classes, dims, load_normalisation(path), settings, repeat)
