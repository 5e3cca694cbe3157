"""The words that every system shares: masks, orders, halves, sub-networks, and building by name."""

from __future__ import annotations

import pytest
import torch
from small_systems import DIMS, SYSTEMS, padded, small_system
from torch import nn

from nmer.errors import ConfigError
from nmer.systems.building import build_system
from nmer.systems.interface import System, concatenate, halves


def test_the_mask_is_true_for_an_utterances_own_frames():
    valid = padded([torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(1, 3)]).valid()
    assert valid.tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]


def test_encodings_are_concatenated_in_the_order_a_l_v():
    encodings = {m: torch.full((1, 2), value) for m, value in (("v", 2.0), ("a", 1.0), ("l", 3.0))}
    assert concatenate(encodings).tolist() == [[1, 1, 3, 3, 2, 2]]


def test_encodings_of_two_halves_are_concatenated_half_by_half():
    encodings = {m: torch.tensor([[value, -value]]) for m, value in (("a", 1.0), ("v", 2.0), ("l", 3.0))}
    specific, invariant = halves(encodings)
    assert (specific.tolist(), invariant.tolist()) == ([[1, 3, 2]], [[-1, -3, -2]])


def test_a_forward_pass_fuses_what_was_encoded_modality_by_modality():
    class Recorder(System):
        def encode(self, modality, sequences):
            return sequences.values.sum(dim=(1, 2))

        def fuse(self, encodings):
            return encodings

    observed = {m: padded([torch.full((2, dim), float(dim))]) for m, dim in DIMS.items()}
    batch = type("Observed", (), {"observed": observed})
    outputs = Recorder(DIMS, 2, 0.0)(batch)
    assert {m: output.item() for m, output in outputs.items()} == {m: 2.0 * dim**2 for m, dim in DIMS.items()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_subnetworks_are_the_named_modules_with_each_encoder_on_its_own_and_leave_out_nothing(name):
    system = small_system(name)
    expected = []
    for child in system.children():
        expected += list(child.values()) if isinstance(child, nn.ModuleDict) else [child]
    found = list(system.subnetworks())
    assert [id(part) for part in found] == [id(part) for part in expected]
    clipped = [id(parameter) for part in found for parameter in part.parameters()]
    assert sorted(clipped) == sorted(id(parameter) for parameter in system.parameters())


def test_nmer_has_ten_subnetworks():
    assert len(list(small_system("nmer").subnetworks())) == 10


def test_a_built_system_is_initialised_throughout():
    system = build_system("nmer", DIMS, 3, 0.5, {"layers": 2, "feed_forward": 32})
    biases = [part.bias for part in system.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    assert len(biases) == 2 * 4 + 2 + 2 * 3 + 2 + 3 + 3
    assert not any(bias.any() for bias in biases)


def test_equal_seeds_build_equal_systems():
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(small_system("shared").state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("name", "known"), [("men", "none"), ("nmer", "feed_forward")])
def test_an_option_that_a_system_does_not_have_is_refused_with_those_it_has(name, known):
    with pytest.raises(ConfigError, match=rf"'{name}' has no option 'widht'.*{known}"):
        build_system(name, DIMS, 3, 0.5, {"widht": 1})


def test_a_users_own_system_is_built_from_its_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\nfrom nmer.systems.interface import System\n"
        "from nmer.systems.registry import system\n\n\n"
        '@system("mine", pretraining="none", regimes=("six",), options={"width": 4})\n'
        "class Mine(System):\n"
        "    def __init__(self, dims, classes, dropout, *, width):\n"
        "        super().__init__(dims, classes, dropout)\n"
        "        self.layer = nn.Linear(width, classes)\n"
    )
    assert build_system("mine", DIMS, 3, 0.5, {}, str(path)).layer.in_features == 4
    assert build_system("mine", DIMS, 3, 0.5, {"width": 9}, str(path)).layer.in_features == 9
