"""A trained system, loaded from a model file, that predicts class probabilities or scores."""

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
from nmer.names import SCORE
from nmer.systems.interface import Sequences, System
from nmer.systems.registry import regimes, systems
from nmer.training.inference import BATCH, classify, encode, logits
from nmer.training.models import build_restored, load_normalisation, load_settings


@dataclass(frozen=True)
class PreparedFeatures:
    """Features of n utterances in the form that all repeats of a training read.

    utterances: modality -> n normalised arrays (frames, dim) float32. replaced: modality -> how many values that are
    not finite were replaced by 0, and in how many utterances.
    """

    utterances: dict[str, list[np.ndarray]]
    replaced: dict[str, tuple[int, int]]

    def sequences(self, modality: str, rows: Tensor, _copies: Tensor) -> Sequences:
        """Return padded sequences of some utterances."""
        selected = [torch.from_numpy(self.utterances[modality][row]) for row in rows.tolist()]
        lengths = torch.tensor([len(frames) for frames in selected])
        return Sequences(torch.nn.utils.rnn.pad_sequence(selected, batch_first=True), lengths)


@dataclass(frozen=True)
class TrainedSystem:
    """One repeat of a trained system, ready for prediction.

    system: in evaluation mode. classes: names in the order of the probabilities, empty if the system predicts scores.
    dims: width per modality. normalisation: modality -> mean and standard deviation of the training split, each
    (dim,); modalities that are not normalised are absent. settings: of the training. repeat: number of the repeat.
    """

    system: System
    classes: list[str]
    dims: dict[str, int]
    normalisation: dict[str, tuple[np.ndarray, np.ndarray]]
    settings: dict[str, Any]
    repeat: int

    def predict(self, features: Mapping[str, Sequence[np.ndarray]], ids: Sequence[str] | None = None) -> np.ndarray:
        """Return class probabilities, (utterances, classes) float32, or predicted scores, (utterances,) float32.

        Arguments and errors are those of :meth:`prepare`.
        """
        return self.predict_prepared(self.prepare(features, ids))

    def prepare(
        self, features: Mapping[str, Sequence[np.ndarray]], ids: Sequence[str] | None = None
    ) -> PreparedFeatures:
        """Validate, repair and normalise features, once for all repeats of this training.

        features: for each modality that the system reads, one array (frames, dim) per utterance, in the same order and
        in the units of the training corpus. Values that are not finite are replaced by 0, as in the workflow. ids:
        names of the utterances in error messages, by default their numbers. Raises DataError for a missing modality, a
        wrong width, an utterance without frames, or unequal numbers of utterances.
        """
        utterances, replaced = {}, {}
        for modality in self.system.modalities:
            utterances[modality], replaced[modality] = self._normalised(modality, features, ids)
        counts = {modality: len(each) for modality, each in utterances.items()}
        if len(set(counts.values())) != 1:
            raise DataError(f"Modalities have different numbers of utterances: {counts}.")
        return PreparedFeatures(utterances, replaced)

    def predict_prepared(self, prepared: PreparedFeatures) -> np.ndarray:
        """Return what :meth:`predict` does. prepared: by any repeat of this training."""
        rows = torch.arange(len(next(iter(prepared.utterances.values()))))
        if not len(rows):
            return np.empty((0, len(self.classes)) if self.classes else 0, np.float32)
        return np.concatenate([self._predict_batch(prepared, part) for part in rows.split(BATCH)])

    def _predict_batch(self, prepared: PreparedFeatures, rows: Tensor) -> np.ndarray:
        """Predict some utterances. Batches bound the memory: encodings may be sequences."""
        encodings = {m: encode(self.system, prepared, m, rows, torch.zeros_like(rows)) for m in self.system.modalities}
        if self.classes:
            probabilities: np.ndarray = classify(self.system, encodings, {}).numpy()
            return probabilities
        scores: np.ndarray = logits(self.system, encodings, {})[:, 0].numpy()
        return scores

    def _normalised(
        self, modality: str, features: Mapping[str, Sequence[np.ndarray]], ids: Sequence[str] | None
    ) -> tuple[list[np.ndarray], tuple[int, int]]:
        """Return the normalised utterances of a modality and the numbers of replaced values and their utterances."""
        if modality not in features:
            raise DataError(f"Modality '{modality}' is missing; the system reads {', '.join(self.system.modalities)}.")
        if isinstance(features[modality], Mapping):
            raise DataError(
                f"Modality '{modality}' is a mapping. Give a list of arrays, in the same order in every modality."
            )
        mean, std = (part.astype(np.float32) for part in self.normalisation.get(modality, (np.zeros(1), np.ones(1))))
        normalised, replaced = [], []
        for number, values in enumerate(features[modality]):
            values = np.asarray(values)
            fits = values.ndim == 2 and values.shape[1:] == (self.dims[modality],) and len(values) > 0
            if not fits or values.dtype.kind not in "biuf":
                name = number if ids is None else f"'{ids[number]}'"
                raise DataError(
                    f"Utterance {name} has {values.dtype} {values.shape} in modality '{modality}'; the model was "
                    f"trained on numbers (frames, {self.dims[modality]})."
                )
            frames, counts = repair(values)
            replaced.append(sum(counts.values()))
            if modality in self.normalisation:
                frames -= mean
                frames /= std
            normalised.append(frames)
        return normalised, (sum(replaced), sum(count > 0 for count in replaced))


def _are_model_settings(settings: object) -> bool:
    """Return whether the settings in a file, which may be of any origin, describe a system."""
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
    """Load a trained system from a ``model.safetensors`` of the workflow.

    file: the Python file of a custom system; a path stored in a model is never executed. Raises DataError if the file
    is damaged, is not a model of this workflow, or lacks the weights of the repeat; ConfigError if there is no such
    repeat, or if the system is unknown, needs its file or is only a pretraining.
    """
    path = Path(path)
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {fault}. Give a model.safetensors of a finished training.")
    try:
        settings = load_settings(path)
    except (DataError, ValueError):
        raise DataError(f"{path}: not a model. Give a model.safetensors of a finished training.") from None
    if not _are_model_settings(settings):
        raise DataError(f"{path}: not a model of this version of the workflow. Train it again.")
    if settings.get("file") and file is None:
        raise ConfigError(
            f"{path}: its system '{settings['system']}' is a custom system from {settings['file']}. Give that file, if "
            "you trust it."
        )
    repeats = int(settings.get("repeats", 1))
    if not 1 <= repeat <= repeats:
        raise ConfigError(f"{path}: holds {repeats} repeats, counted from 1, and no repeat {repeat}. Name one of them.")
    options, dims, classes = settings.get("options", {}), settings["dims"], settings["classes"]
    if not regimes(systems.declaration(settings["system"], str(file) if file else None)):
        raise ConfigError(
            f"{path}: '{settings['system']}' is a pretraining that other systems start from. Give the "
            "model.safetensors of one of them, below runs/."
        )
    shape = (dims, len(classes) or 1, 0.0)
    system = build_restored(path, repeat, settings["system"], *shape, options, str(file) if file else None)
    if system.noise_flags:
        raise ConfigError(
            f"{path}: its system '{settings['system']}' was trained with noise_flags, so it needs to know which "
            "modality is noisy. Train it without noise_flags to predict."
        )
    return TrainedSystem(system.eval(), classes, dims, load_normalisation(path), settings, repeat)
