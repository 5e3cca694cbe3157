"""Sequence encodings are selected, split and joined by utterance, like vectors."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from small_systems import padded

from nmer.systems.blocks.encodings import frames_of, join, part, select


class Framed(NamedTuple):
    """A summary and frames, as a system may define it."""

    summary: torch.Tensor
    values: torch.Tensor
    lengths: torch.Tensor


def framed(lengths: list[int], first: int = 0) -> Framed:
    """Build utterances filled with their number."""
    values = padded([torch.full((length, 2), first + number + 1.0) for number, length in enumerate(lengths)])
    return Framed(values.values[:, 0], *values)


def test_frames_are_padded_with_zeros_to_the_longest_part():
    joined = join([framed([2, 1]), framed([4], first=2), framed([3, 1], first=3)])
    expected = framed([2, 1, 4, 3, 1])
    assert isinstance(joined, Framed)
    assert all(torch.equal(one, other) for one, other in zip(joined, expected, strict=True))


def test_after_an_axis_of_repeats_utterances_and_frames_are_on_the_next_axes():
    parts = [Framed(*(field[None].expand(3, *field.shape) for field in framed(lengths))) for lengths in ([2, 1], [4])]
    joined = join(parts, axis=1)
    alone = join([framed([2, 1]), framed([4])])
    assert all(torch.equal(own[2], field) for own, field in zip(joined, alone, strict=True))


@pytest.mark.parametrize("axis", [0, 1])
def test_frames_are_those_of_the_longest_field(axis):
    repeats = (3,) * axis
    assert frames_of(torch.zeros(*repeats, 5, 7), axis) == 1
    assert frames_of(Framed(*(field.expand(*repeats, *field.shape) for field in framed([2, 4, 1]))), axis) == 4


@pytest.mark.parametrize("axis", [0, 1])
def test_utterances_are_selected_in_every_field(axis):
    encoding, chosen = framed([2, 1, 3]), torch.tensor([2, 2, 0])
    original = encoding if axis == 0 else Framed(*(field[None] for field in encoding))
    found = select(original, chosen, axis)
    assert all(torch.equal(own.flatten(), field[chosen].flatten()) for own, field in zip(found, encoding, strict=True))
    assert torch.equal(select(encoding.summary, chosen), encoding.summary[chosen])


def test_a_part_contains_the_same_utterances_of_every_field():
    assert part(framed([2, 1, 3]), 1, 3).lengths.tolist() == [1, 3]
    assert len(part(torch.zeros(4, 2), 3, 9)) == 1
