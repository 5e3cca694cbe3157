"""The frozen teacher's encodings, each computed when a training first asks for it and kept from then on (SPEC 3.5).

They do not change while the teacher's weights and the features do not; of a first batch only its own are needed. On a
GPU, which would have to tell the program which are missing, a copy's are all computed when its first is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nmer.names import MODALITIES
from nmer.systems.interface import System
from nmer.training.data import FoldData
from nmer.training.inference import BATCH


class Targets(Protocol):
    """Where a batch finds a teacher's encodings."""

    def of(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Per modality (batch, width), computed when looked up. rows, copies: (batch,), as
        :meth:`FoldData.sequences`. among: the copies there can be."""


class TeacherTargets:
    """Encodings of copies of utterances, per modality and copy. Part of a training's checkpoint: computed again in
    other batches they would differ by rounding."""

    def __init__(self, teacher: System, data: FoldData) -> None:
        self._teacher, self._data = teacher.eval(), data
        self._values: dict[str, Tensor] = {}
        self._known: dict[str, Tensor] = {}

    def of(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """As :meth:`Targets.of`."""
        return _BatchTargets(self, rows, copies, among)

    def forget(self, copy: int) -> None:
        """A copy of the features is going to change."""
        for modality in MODALITIES:
            self._known.pop(f"{modality}{copy}", None)

    def state_dict(self) -> dict[str, Any]:
        """What was computed so far."""
        return {"values": self._values, "known": self._known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what was computed."""
        self._values, self._known = state["values"], state["known"]

    def encodings(self, modality: str, rows: Tensor, copy: int) -> Tensor:
        """(rows, width) of one copy of some utterances of the training split."""
        key = f"{modality}{copy}"
        if rows.device.type == "cpu":
            known = self._known.setdefault(key, torch.zeros(len(self._data.ids), dtype=torch.bool))
            self._encode(modality, rows[~known[rows]], copy)
        elif key not in self._known:
            self._known[key] = torch.zeros(len(self._data.ids), dtype=torch.bool, device=rows.device)
            for start in range(0, len(self._data.training_rows), BATCH):
                longest = self._data.longest(modality, self._data.training_rows[start : start + BATCH])
                self._encode(modality, self._data.splits["train"][start : start + BATCH], copy, longest)
        return self._values[key][rows]

    def _encode(self, modality: str, rows: Tensor, copy: int, longest: int | None = None) -> None:
        if not len(rows):
            return
        key = f"{modality}{copy}"
        with torch.inference_mode():
            sequences = self._data.sequences(modality, rows, torch.full_like(rows, copy), longest)
            encoded = self._teacher.encode(modality, sequences)
        if key not in self._values:
            self._values[key] = torch.zeros(len(self._known[key]), encoded.shape[1], device=rows.device)
        self._values[key][rows], self._known[key][rows] = encoded, True


class _BatchTargets(Mapping[str, Tensor]):
    def __init__(self, targets: TeacherTargets, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> None:
        self._targets, self._rows, self._copies, self._among = targets, rows, copies, among

    def __getitem__(self, modality: str) -> Tensor:
        if self._rows.device.type == "cpu":
            return self._asked_for(modality)
        first, *others = self._among
        found = self._targets.encodings(modality, self._rows, first)
        for copy in others:
            encoded = self._targets.encodings(modality, self._rows, copy)
            found = torch.where((self._copies == copy)[:, None], encoded, found)
        return found

    def _asked_for(self, modality: str) -> Tensor:
        found: Tensor | None = None
        for copy in self._copies.unique().tolist():
            here = (self._copies == copy).nonzero().squeeze(1)
            encoded = self._targets.encodings(modality, self._rows[here], copy)
            if found is None:
                found = encoded.new_empty(len(self._rows), encoded.shape[1])
            found[here] = encoded
        assert found is not None, "a batch is never empty"
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(MODALITIES)

    def __len__(self) -> int:
        return len(MODALITIES)
