"""Encodings of the training split by frozen teachers, computed once (SPEC 3.5).

They do not change during training. A single repeat encodes what its batches need. Stacked repeats encode a whole
modality at once, because finding missing encodings would synchronise the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nmer.systems.blocks.step_counts import stated_counts
from nmer.systems.interface import System
from nmer.training.data import FoldData

TEACHER_FRAMES = 2**19
"""Frames, including padding, that a teacher of stacked repeats encodes at once."""


class Targets(Protocol):
    """Source of a teacher's encodings for a batch."""

    def lookup(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Return encodings (batch, width) per modality, computed on access.

        rows, copies: (batch,), as in :meth:`FoldData.sequences`. among: all copies that can occur.
        """


class TeacherTargets:
    """Encodings by the teacher of one repeat, per modality and copy, computed when a batch first needs them.

    They are part of a checkpoint: computed again in other batches, they would differ by rounding.
    """

    def __init__(self, teacher: System, data: FoldData) -> None:
        self._teacher, self._data = teacher.eval(), data
        self._values: dict[str, Tensor] = {}
        self._known: dict[str, Tensor] = {}

    def lookup(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Same as :meth:`Targets.lookup`."""
        return LazyEncodings(self._data.modalities, lambda modality: self._mixed_copies(modality, rows, copies))

    def discard(self, copy: int) -> None:
        """Discard the encodings of a copy, because its features will change."""
        for modality in self._data.modalities:
            self._known.pop(f"{modality}{copy}", None)

    def state_dict(self) -> dict[str, Any]:
        """Return the encodings computed so far."""
        return {"values": self._values, "known": self._known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved encodings."""
        self._values, self._known = state["values"], state["known"]

    def encodings(self, modality: str, rows: Tensor, copy: int) -> Tensor:
        """Return encodings (rows, width) of one copy of some training utterances."""
        key = f"{modality}{copy}"
        known = self._known.setdefault(key, torch.zeros(len(self._data.ids), dtype=torch.bool, device=rows.device))
        self._encode(modality, rows[~known[rows]], copy)
        return self._values[key][rows]

    def _mixed_copies(self, modality: str, rows: Tensor, copies: Tensor) -> Tensor:
        """Return encodings (batch, width) of the given copy of each utterance. rows, copies: (batch,)."""
        encodings: Tensor | None = None
        for copy in copies.unique().tolist():
            positions = (copies == copy).nonzero().squeeze(1)
            encoded = self.encodings(modality, rows[positions], copy)
            if encodings is None:
                encodings = encoded.new_empty(len(rows), encoded.shape[1])
            encodings[positions] = encoded
        assert encodings is not None, "a batch is never empty"
        return encodings

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
    """Encodings by the teachers of several repeats. The first access to a modality encodes all of it.

    The batches are always the same, so a resumed training gets the same encodings.
    """

    def __init__(self, teachers: list[System], data: FoldData) -> None:
        """teachers: one per repeat, in order."""
        self._teachers, self._data = [teacher.eval() for teacher in teachers], data
        self._tables: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def lookup(self, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Same as :meth:`Targets.lookup`, with the repeats concatenated. rows, copies: (repeats x batch,)."""
        return LazyEncodings(self._data.modalities, lambda modality: self.encodings(modality, rows, copies, among))

    def encodings(self, modality: str, rows: Tensor, copies: Tensor, among: tuple[int, ...]) -> Tensor:
        """Return encodings (repeats x batch, width). rows, copies, among: as in :meth:`lookup`."""
        if (modality, among) not in self._tables:
            self._tables[modality, among] = self._table(modality, among)
        count, utterances = len(self._teachers), len(self._data.ids)
        repeat = torch.arange(count, device=rows.device).repeat_interleave(len(rows) // count)
        index = ((repeat * len(among) + copies - among[0]) * utterances) + rows
        return self._tables[modality, among].index_select(0, index)

    @torch.inference_mode()
    def _table(self, modality: str, among: tuple[int, ...]) -> Tensor:
        """Encode all training utterances: (repeats x copies x utterances, width), zeros for other utterances."""
        data, tables = self._data, None
        for number, copy in enumerate(among):
            for batch, longest in batches_of_similar_length(data.lengths(modality, data.training_rows)):
                rows = torch.from_numpy(data.training_rows[batch]).to(data.device)
                sequences = data.sequences(modality, rows, torch.full_like(rows, copy), longest)
                for repeat, teacher in enumerate(self._teachers):
                    # Bounds of the training batch that needs the table may be stated for the same shape.
                    with stated_counts({(len(batch), longest): (len(batch),) * longest}):
                        encoded: Tensor = teacher.encode(modality, sequences)
                    if tables is None:
                        shape = (len(self._teachers), len(among), len(data.ids), encoded.shape[1])
                        tables = encoded.new_zeros(shape)
                    tables[repeat, number, rows] = encoded
        assert tables is not None, "a training split is never empty"
        return tables.flatten(0, 2)


def batches_of_similar_length(lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield positions (batch,) and the longest length of batches that cover all utterances, longest first.

    lengths: (utterances,) frames. A batch has at most TEACHER_FRAMES padded frames. A GPU advances an LSTM frame by
    frame, so a batch takes as long as its longest utterance.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        size = max(1, TEACHER_FRAMES // longest)
        yield order[start : start + size], longest
        start += size


class LazyEncodings(Mapping[str, Tensor]):
    """Encodings of a batch by modality, computed on access."""

    def __init__(self, modalities: tuple[str, ...], compute: Callable[[str], Tensor]) -> None:
        self._modalities, self._compute = modalities, compute

    def __getitem__(self, modality: str) -> Tensor:
        return self._compute(modality)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)
