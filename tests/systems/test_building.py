"""Systems built for weights from a file do not fill their layers, and equal systems built normally."""

from __future__ import annotations

import pytest
import torch
from small_systems import CLASSES, DIMS
from torch import nn

from nmer.systems import building
from nmer.systems.building import build_system, build_to_restore
from nmer.systems.interface import System
from nmer.systems.registry import systems


def equal_states(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(map(torch.equal, first.values(), second.values()))


@pytest.mark.parametrize("name", systems.shipped())
def test_a_shipped_system_is_built_once_without_filling_its_layers_and_restored(name, monkeypatch):
    expected, built = build_system(name, DIMS, CLASSES, 0.3), []
    monkeypatch.setattr(building, "build_system", lambda *given: built.append(build_system(*given)) or built[-1])
    # New tensors are NaN until they are filled.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.set_deterministic_debug_mode("warn")
    try:
        found = build_to_restore(expected.state_dict(), name, DIMS, CLASSES, 0.3)
    finally:
        torch.set_deterministic_debug_mode("default")
    assert built == [found]
    layers = [part for part in found.modules() if isinstance(part, nn.Linear)]
    assert all(layer.weight.isnan().all() for layer in layers)
    found.load_state_dict(expected.state_dict())
    assert equal_states(found, expected)
    assert [(key, type(part)) for key, part in found.named_modules()] == [
        (key, type(part)) for key, part in expected.named_modules()
    ]
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        assert (one.requires_grad, one.is_contiguous()) == (other.requires_grad, other.is_contiguous())
    for (key, one), (_key, other) in zip(found.named_buffers(), expected.named_buffers(), strict=True):
        assert torch.equal(one, other), key


class Custom(System):
    """Initialises parameters in every way of the framework."""

    def __init__(self, dims, classes, dropout, **options) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.lstm, self.layer, self.embedding = nn.LSTM(3, 4), nn.Linear(4, classes), nn.Embedding(5, 4)
        self.directly = nn.Parameter(torch.randn(3))
        for number, fill in enumerate((nn.init.trunc_normal_, nn.init.xavier_normal_, nn.init.orthogonal_)):
            self.register_parameter(f"filled{number}", nn.Parameter(fill(torch.empty(4, 4))))
        nn.init.uniform_(tensor=self.filled0)


class WithBuffer(Custom):
    """Has a projection that is not in the file."""

    def __init__(self, *given, **options) -> None:
        super().__init__(*given, **options)
        own = torch.Generator().manual_seed(3)
        self.register_buffer("projection", torch.empty(4, 4).normal_(generator=own), persistent=False)
        # Frozen, from a generator of the system.
        self.frozen = nn.Parameter(torch.empty(4), requires_grad=False)
        nn.init.normal_(self.frozen, generator=own)
        self.scaled = 2 * self.frozen.detach()


class WithoutOneParameter(Custom):
    """Computes an attribute from a parameter that it does not keep."""

    def __init__(self, *given, **options) -> None:
        super().__init__(*given, **options)
        torch.manual_seed(5)
        self.table = nn.Linear(3, 3).weight.detach().clone()


class PartlySaved(Custom):
    """Leaves a parameter out of its file."""

    def state_dict(self, *given, **named):
        return {key: value for key, value in super().state_dict(*given, **named).items() if key != "layer.weight"}

    def load_state_dict(self, state, *_given, **_named):
        return super().load_state_dict(state, strict=False)


@pytest.fixture
def builds(monkeypatch) -> list[str]:
    """Build the classes of this file by name; return the names of the systems that were built."""
    made: list[str] = []

    def build(name, dims, classes, dropout, _options=None):
        made.append(name)
        built = globals()[name](dims, classes, dropout)
        building.initialise(built)
        return built

    monkeypatch.setattr(building, "build_system", build)
    return made


@pytest.mark.parametrize(
    ("name", "count"), [("Custom", 1), ("WithBuffer", 1), ("WithoutOneParameter", 2), ("PartlySaved", 2)]
)
def test_a_custom_system_equals_one_that_is_built_normally(builds, name, count):
    torch.manual_seed(2)
    expected = building.build_system(name, DIMS, CLASSES, 0.3)
    builds.clear()
    torch.manual_seed(2)
    found = build_to_restore(expected.state_dict(), name, DIMS, CLASSES, 0.3)
    assert builds == [name] * count
    found.load_state_dict(expected.state_dict())
    assert equal_states(found, expected)
    assert all(map(torch.equal, found.buffers(), expected.buffers()))
    for attribute in ("scaled", "table"):
        assert hasattr(found, attribute) == hasattr(expected, attribute)
        if hasattr(expected, attribute):
            assert torch.equal(getattr(found, attribute), getattr(expected, attribute))
    assert all(parameter.isfinite().all() for parameter in found.parameters())


SEEDED = """
import torch
from torch import nn
from nmer.systems.interface import System
from nmer.systems.registry import system


@system("seeded", pretraining="none")
class Seeded(System):
    def __init__(self, dims, classes, dropout, **options):
        super().__init__(dims, classes, dropout, **options)
        torch.manual_seed(0)
        self.head = nn.Linear(8, classes)
        self.projection = torch.randn(4, 8)
"""


def test_a_custom_system_that_seeds_the_generator_draws_the_values_of_its_training(tmp_path):
    file = tmp_path / "seeded.py"
    file.write_text(SEEDED)
    expected = build_system("seeded", DIMS, CLASSES, file=str(file))
    found = build_to_restore(expected.state_dict(), "seeded", DIMS, CLASSES, file=str(file))
    assert torch.equal(found.projection, expected.projection)
