"""Batches as rows, step by step, and MCTN computed on them, equal the same on padded batches."""

from __future__ import annotations

import pytest
import torch
from small_systems import CLASSES, DEVIATIONS, DIMS, small_system
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from nmer.systems.blocks.repeats import compute_stacked
from nmer.systems.blocks.step_counts import Counts, stated_counts
from nmer.systems.blocks.step_rows import StepRows, by_steps
from nmer.systems.interface import Batch, Sequences, summed

pytestmark = pytest.mark.usefixtures("double")

REPEATS, UTTERANCES = 2, 4
LENGTHS = {
    "a": torch.tensor([[9, 1, 3, 2], [2, 5, 2, 9]]),
    "v": torch.tensor([[5, 5, 5, 5], [5, 5, 5, 5]]),
    "l": torch.tensor([[2, 6, 1, 3], [6, 6, 1, 2]]),
}


def generators() -> list[torch.Generator]:
    return [torch.Generator() for _ in range(REPEATS)]


def sequences(modality: str) -> Sequences:
    lengths = LENGTHS[modality]
    values = torch.randn(REPEATS, UTTERANCES, int(lengths.max()), DIMS[modality])
    return Sequences(values * (torch.arange(values.shape[2]) < lengths[..., None])[..., None], lengths)


def bounds(slack: int) -> dict[tuple[int, int], Counts]:
    """Bounds of all modalities. slack: utterances that a step has more than it needs."""
    found = {}
    for lengths in LENGTHS.values():
        longest = int(lengths.max())
        needed = (lengths[..., None] > torch.arange(longest)).sum(dim=1).amax(dim=0)
        found[UTTERANCES, longest] = tuple((needed + slack).clamp(max=UTTERANCES).tolist())
    return found


def test_without_bounds_or_repeats_sequences_stay_padded():
    given = Sequences(*(part[0] for part in sequences("a")))
    with stated_counts(bounds(0)):
        assert by_steps([given])[0] is given

    def kept(*parts: Tensor) -> Tensor:
        (found,) = by_steps([Sequences(*parts)])
        assert isinstance(found, Sequences)
        return found.values

    compute_stacked(kept, generators(), *sequences("a"))


@pytest.mark.parametrize("slack", [0, 1])
def test_rows_are_turned_summed_and_padded_within_each_length(slack):
    audio, text = sequences("a"), sequences("l")
    audio.values.requires_grad_()

    def rows(values: Tensor, lengths: Tensor, *text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        own, _text = by_steps([Sequences(values, lengths), Sequences(*text)])
        assert isinstance(own, StepRows)
        assert len(own.values) == sum(own.counts)
        assert own.counts[0] == UTTERANCES
        turn = own.turns()
        turned = own._replace(values=own.values[turn])
        return own.padded().values, turned.padded().values, own.summed(own.values)

    with stated_counts(bounds(slack)):
        padded, turned, sums = compute_stacked(rows, generators(), *audio, *text)
    torch.testing.assert_close(padded, audio.values)
    torch.testing.assert_close(sums, audio.values.sum(dim=2))
    for own, values, lengths in zip(
        turned.flatten(0, 1), audio.values.flatten(0, 1), audio.lengths.flatten(), strict=True
    ):
        torch.testing.assert_close(own[:lengths], values[:lengths].flip(0))
        assert not own[lengths:].any()
    factor = torch.randn_like(sums)
    for found, expected in ((padded, audio.values * audio.values.detach()), (sums, audio.values.sum(dim=2) * factor)):
        weight = audio.values.detach() if found is padded else factor
        (gradient,) = torch.autograd.grad((found * weight).sum(), audio.values, retain_graph=True)
        (reference,) = torch.autograd.grad(expected.sum(), audio.values)
        valid = Sequences(audio.values.flatten(0, 1), audio.lengths.flatten()).valid().view(REPEATS, UTTERANCES, -1)
        torch.testing.assert_close(gradient[valid], reference[valid])


class Losses(nn.Module):
    """A system that returns the terms of its loss."""

    def __init__(self, name: str, steps: int) -> None:
        super().__init__()
        self.system = small_system(name, steps=steps).double()
        with torch.no_grad():
            for parameter_name, parameter in self.system.named_parameters():
                if parameter_name.endswith("score.weight"):
                    # Attention far from uniform reveals a wrong gradient of a score.
                    parameter.mul_(10)

    def forward(self, observed: dict[str, Sequences], labels: Tensor) -> dict[str, Tensor]:
        noisy = {m: torch.zeros_like(labels, dtype=torch.bool) for m in observed}
        batch = Batch(observed, labels, noisy, clean=observed.__getitem__, deviations=DEVIATIONS)
        return self.system.loss(self.system(batch), batch)


@pytest.mark.parametrize("slack", [0, 1])
@pytest.mark.parametrize(
    ("name", "steps"),
    [("mctn", 3), ("mctn", 9), ("mctn hier", 4)],
    ids=["ring", "steps of audio's length", "hierarchy"],
)
def test_mctn_on_rows_has_the_losses_and_gradients_of_each_repeat(name, steps, slack):
    """With as many steps as audio has frames, the bounds of audio must not apply to translations."""
    modules = [Losses(name, steps).train() for _ in range(REPEATS)]
    parameters, _buffers = stack_module_state(modules)
    observed = {m: sequences(m) for m in DIMS}
    labels = torch.arange(REPEATS * UTTERANCES).view(REPEATS, -1) % CLASSES
    with stated_counts(bounds(slack)):
        terms = compute_stacked(
            lambda own, *given: functional_call(modules[0], own, given), generators(), parameters, observed, labels
        )
    summed(terms.values()).sum().backward()
    for repeat, module in enumerate(modules):
        own = module({m: Sequences(*(part[repeat] for part in given)) for m, given in observed.items()}, labels[repeat])
        summed(own.values()).backward()
        for term, value in own.items():
            torch.testing.assert_close(terms[term][repeat], value)
        for parameter_name, parameter in module.named_parameters():
            torch.testing.assert_close(parameters[parameter_name].grad[repeat], parameter.grad)
