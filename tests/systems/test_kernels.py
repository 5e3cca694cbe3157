"""Kernel launches of a training step of several repeats, counted as calls of operators that compute.

The count uses the meta device and the form for a GPU. It covers forward pass, loss and backward pass, without gathering
the batch, clipping and the optimiser.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.func import functional_call, stack_module_state
from torch.utils._python_dispatch import TorchDispatchMode

from nmer.systems.blocks import decoders, decoding, fused_attention, fused_lstm, lstm_kernels, maxima_kernels
from nmer.systems.blocks.repeats import compute_stacked
from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences, summed

DIMS, CLASSES, BATCH = {"a": 130, "v": 342, "l": 1024}, 4, 128
LONGEST = {"a": 96, "v": 50, "l": 22}
TEACHERS = {"mmin": 128, "if_mmin": 256, "nmer": 256, "nmer_no_vae": 256, "nmer_no_inv": 256}
ALLOCATIONS = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view", "detach"}


class Calls(TorchDispatchMode):
    """Counts calls that are neither views nor allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        views = [part.alias_info is not None and not part.alias_info.is_write for part in function._schema.returns]
        if not any(views) and name not in ALLOCATIONS:
            self.names[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def calls(monkeypatch):
    """Count calls of operators, the fused cell of a GPU and each kernel of this package as one."""
    counted = Calls()

    def cell(gates, hidden_gates, cell):
        counted.names["cell"] += 1
        return torch.empty_like(cell), torch.empty_like(cell), torch.empty_like(gates)

    def backward(output_gradient, cell_gradient, cell, new_cell, activated):
        counted.names["cell backward"] += 1
        return torch.empty_like(activated), torch.empty_like(cell)

    for module in (fused_lstm, decoding):
        monkeypatch.setattr(module, "fused_cell", cell)
        monkeypatch.setattr(module, "fused_cell_backward", backward)
    monkeypatch.setattr(decoders, "fuses", lambda _values, _longest: True)
    monkeypatch.setattr(lstm_kernels, "fuses", lambda _weights: True)
    monkeypatch.setattr(maxima_kernels, "fuses", lambda _values: True)
    for module in (fused_attention, lstm_kernels, maxima_kernels):
        names = module.Kernels._fields
        kernels = module.Kernels(*(lambda *_given, name=name: counted.names.update([name]) for name in names))
        monkeypatch.setattr(module, "kernels", lambda _device, kernels=kernels: kernels)
    return counted


def step(calls: Calls, name: str, repeats: int, longest: dict[str, int] = LONGEST, **options) -> int:
    """Count calls of a joint training step of several repeats."""
    calls.names.clear()
    with torch.device("meta"):
        systems = [build_system(name, DIMS, CLASSES, 0.5, options).train() for _ in range(repeats)]
        parameters, _buffers = stack_module_state(systems)
        axes = repeats, BATCH
        observed = {
            m: Sequences(torch.zeros(*axes, longest[m], dim), torch.ones(axes, dtype=torch.int64))
            for m, dim in DIMS.items()
        }
        noisy = {m: torch.zeros(axes, dtype=torch.bool) for m in DIMS}
        targets = {m: torch.zeros(*axes, TEACHERS.get(name, 0)) for m in DIMS}
        labels = torch.zeros(axes, dtype=torch.int64)

        def of_one(own, observed, labels, noisy, targets):
            def loss(batch):
                return systems[0].loss(systems[0](batch), batch)

            batch = Batch(
                observed,
                labels,
                noisy,
                targets,
                targets,
                clean=observed.__getitem__,
                deviations=dict.fromkeys(DIMS, 1.0),
            )
            module = torch.nn.Module()
            module.system, module.forward = systems[0], loss
            return functional_call(module, {f"system.{name}": value for name, value in own.items()}, (batch,))

        generators = [torch.Generator() for _ in range(repeats)]
        with calls:
            terms = compute_stacked(of_one, generators, parameters, observed, labels, noisy, targets)
            summed(terms.values()).sum().backward()
    return sum(calls.names.values())


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("men", {}, 170),
        ("mmin", {}, 561),
        ("if_mmin", {}, 436),
        ("nmer", {}, 690),
        ("mctn", {}, 1317),
        ("mctn", {"form": "hier"}, 1145),
    ],
    ids=lambda value: str(value),
)
def test_a_training_step_of_three_repeats_launches_no_more_kernels_than_recorded(calls, name, options, most):
    assert step(calls, name, 3, **options) <= most


def test_more_repeats_add_only_launches_for_random_draws(calls):
    def all_but_draws(repeats: int) -> int:
        return step(calls, "nmer_no_vae", repeats) - calls.names["bernoulli_"]

    two, sums_of_two = all_but_draws(2), calls.names["sum"]
    three, sums_of_three = all_but_draws(3), calls.names["sum"]
    # More repeats occupy a GPU better, so fewer sums are split.
    assert sums_of_three <= sums_of_two
    assert three - sums_of_three == two - sums_of_two


@pytest.mark.parametrize("name", ["two_tower", "mctn"])
def test_additional_frames_cost_no_launches(calls, name):
    longer = LONGEST | {"a": 2 * LONGEST["a"]}
    assert step(calls, name, 2, longer) == step(calls, name, 2)


@pytest.mark.parametrize(("name", "layers"), [("two_tower", 1), ("mctn", 2)])
def test_without_kernels_an_additional_frame_costs_four_launches_for_any_number_of_lstms(
    calls, monkeypatch, name, layers
):
    """layers: consecutive LSTMs, each with a product and a cell, forward and backward."""
    monkeypatch.setattr(lstm_kernels, "fuses", lambda _weights: False)
    longer = LONGEST | {"a": LONGEST["a"] + 1}
    assert step(calls, name, 2, longer) - step(calls, name, 2) == 4 * layers
