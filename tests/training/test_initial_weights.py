"""Repeats built in threads have the initial weights of repeats built one after another."""

from __future__ import annotations

import threading

import pytest
import torch
from small_fold import CLASSES, CPU, DIMS, builder, equal, make_teachers, run_settings
from torch import nn

from nmer.systems.building import initialise
from nmer.systems.interface import System
from nmer.systems.registry import systems
from nmer.training.initial_weights import initial_system, initial_systems

REPEATS = [1, 2, 3, 4, 5]


def one_by_one(build, settings, teachers) -> list[System]:
    return [initial_system(build, CPU, settings, repeat, teachers.get(repeat)) for repeat in REPEATS]


@pytest.mark.parametrize("name", systems.shipped())
def test_every_shipped_system_has_the_same_weights_without_the_shared_generator(name):
    build, settings = builder(name), run_settings(name)
    expected = one_by_one(build, settings, {})
    torch.manual_seed(6)
    before, threads = torch.get_rng_state(), set()

    def watched() -> System:
        threads.add(threading.current_thread())
        return build()

    found = initial_systems(watched, CPU, settings, REPEATS, {})
    assert torch.equal(torch.get_rng_state(), before)
    assert threading.main_thread() not in threads
    for one, other in zip(found, expected, strict=True):
        assert equal(one.state_dict(), other.state_dict())
    assert not equal(found[0].state_dict(), found[1].state_dict())


def test_each_repeat_inherits_from_its_teacher():
    build, settings, teachers = builder("nmer"), run_settings("nmer"), make_teachers("two_tower", REPEATS)
    found = initial_systems(build, CPU, settings, REPEATS, teachers)
    for repeat, one, other in zip(REPEATS, found, one_by_one(build, settings, teachers), strict=True):
        assert equal(one.state_dict(), other.state_dict())
        assert equal(one.towers.state_dict(), teachers[repeat].towers.state_dict())


class Varied(System):
    """Fills parameters with the initialisers of the framework."""

    def __init__(self) -> None:
        super().__init__(DIMS, len(CLASSES), 0.0)
        self.layers = nn.ModuleList(
            [nn.LSTM(3, 4), nn.Conv1d(2, 3, 2), nn.MultiheadAttention(4, 2), nn.Embedding(5, 4)]
        )
        fills = (nn.init.trunc_normal_, nn.init.xavier_normal_, nn.init.xavier_uniform_, nn.init.orthogonal_)
        self.filled = nn.ParameterList([nn.Parameter(fill(torch.empty(6, 6))) for fill in fills])
        self.drawn = nn.ParameterList([nn.Parameter(torch.randn(3)), nn.Parameter(torch.rand(3))])
        initialise(self)


class Permuting(Varied):
    """Draws in a way that is not foreseen."""

    def __init__(self) -> None:
        super().__init__()
        self.order = nn.Parameter(torch.randperm(50).float())


class Seeding(Varied):
    """Sets the seed of the shared generator."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.last = nn.Parameter(torch.bernoulli(torch.full((50,), 0.5)))


@pytest.mark.parametrize("system", [Varied, Permuting, Seeding])
def test_systems_that_draw_in_other_ways_have_the_same_weights(system):
    expected = one_by_one(system, run_settings(), {})
    torch.manual_seed(6)
    found = initial_systems(system, CPU, run_settings(), REPEATS, {})
    for one, other in zip(found, expected, strict=True):
        assert equal(one.state_dict(), other.state_dict())


def test_a_custom_system_is_built_in_the_main_thread():
    threads = []

    def watched() -> System:
        threads.append(threading.current_thread())
        return Varied()

    initial_systems(watched, CPU, run_settings(file="own.py"), REPEATS, {})
    assert threads == [threading.main_thread()] * len(REPEATS)
