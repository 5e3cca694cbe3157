"""The frozen teachers' encodings of the training split, computed once and kept (SPEC 3.5).

They change with neither epoch nor step. One repeat computes those that its batches need; stacked repeats compute a
modality's at once, since a GPU would have to report which are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nmer.systems.interface import System
from nmer.training.data import FoldData

ENCODED = 2048
"""Utterances that stacked repeats' teachers encode at once."""


class Targets(Protocol):
    """Where a batch finds a teacher's encodings."""

    def of(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Per modality (batch, width), computed when looked up. rows, copies: (batch,), as
        :meth:`FoldData.sequences`. among: the copies there can be."""


class TeacherTargets:
    """Encodings by the teacher of one repeat, per modality and copy, each computed when a batch first needs it.

    Part of a training's checkpoint: computed again in other batches they would differ by rounding."""

    def __init__(self, teacher: System, data: FoldData) -> None:
        self._teacher, self._data = teacher.eval(), data
        self._values: dict[str, Tensor] = {}
        self._known: dict[str, Tensor] = {}

    def of(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """As :meth:`Targets.of`."""
        return ByModality(self._data.modalities, lambda modality: self._of_copies(modality, rows, copies))

    def forget(self, copy: int) -> None:
        """A copy of the features is going to change."""
        for modality in self._data.modalities:
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
        known = self._known.setdefault(key, torch.zeros(len(self._data.ids), dtype=torch.bool, device=rows.device))
        self._encode(modality, rows[~known[rows]], copy)
        return self._values[key][rows]

    def _of_copies(self, modality: str, rows: Tensor, copies: Tensor) -> Tensor:
        """(batch, width) of the copy of each utterance. rows, copies: (batch,)."""
        found: Tensor | None = None
        for copy in copies.unique().tolist():
            here = (copies == copy).nonzero().squeeze(1)
            encoded = self.encodings(modality, rows[here], copy)
            if found is None:
                found = encoded.new_empty(len(rows), encoded.shape[1])
            found[here] = encoded
        assert found is not None, "a batch is never empty"
        return found

    def _encode(self, modality: str, rows: Tensor, copy: int) -> None:
        if not len(rows):
            return
        key = f"{modality}{copy}"
        with torch.inference_mode():
            sequences = self._data.sequences(modality, rows, torch.full_like(rows, copy))
            encoded = self._teacher.encode(modality, sequences)
        if key not in self._values:
            self._values[key] = torch.zeros(len(self._known[key]), encoded.shape[1], device=rows.device)
        self._values[key][rows], self._known[key][rows] = encoded, True


class StackedTargets:
    """Encodings by the teachers of several repeats, all of a modality at once when a batch first reads it.

    Always computed in the same batches, so a resumed training finds the same.
    """

    def __init__(self, teachers: list[System], data: FoldData) -> None:
        """teachers: of every repeat, in their order."""
        self._teachers, self._data = [teacher.eval() for teacher in teachers], data
        self._tables: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def of(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """As :meth:`Targets.of`, of all repeats one after another. rows, copies: (repeats x batch,)."""
        return ByModality(self._data.modalities, lambda modality: self.encodings(modality, rows, copies, among))

    def encodings(self, modality: str, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Tensor:
        """(repeats x batch, width). rows, copies, among: as :meth:`of`."""
        if (modality, among) not in self._tables:
            self._tables[modality, among] = self._table(modality, among)
        count, utterances = len(self._teachers), len(self._data.ids)
        repeat = torch.arange(count, device=rows.device).repeat_interleave(len(rows) // count)
        place = ((repeat * len(among) + copies - among[0]) * utterances) + rows
        return self._tables[modality, among].index_select(0, place)

    @torch.inference_mode()
    def _table(self, modality: str, among: tuple[int, ...]) -> Tensor:
        """Encodings of every training utterance, (repeats x copies x utterances, width); zeros for the others."""
        data, tables = self._data, None
        for number, copy in enumerate(among):
            for start in range(0, len(data.training_rows), ENCODED):
                longest = data.longest(modality, data.training_rows[start : start + ENCODED])
                rows = data.splits["train"][start : start + ENCODED]
                sequences = data.sequences(modality, rows, torch.full_like(rows, copy), longest)
                for repeat, teacher in enumerate(self._teachers):
                    encoded: Tensor = teacher.encode(modality, sequences)
                    if tables is None:
                        shape = (len(self._teachers), len(among), len(data.ids), encoded.shape[1])
                        tables = encoded.new_zeros(shape)
                    tables[repeat, number, rows] = encoded
        assert tables is not None, "a training split is never empty"
        return tables.flatten(0, 2)


class ByModality(Mapping[str, Tensor]):
    """The encodings of a batch, each computed when its modality is looked up."""

    def __init__(self, modalities: tuple[str, ...], compute: Callable[[str], Tensor]) -> None:
        self._modalities, self._compute = modalities, compute

    def __getitem__(self, modality: str) -> Tensor:
        return self._compute(modality)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)
