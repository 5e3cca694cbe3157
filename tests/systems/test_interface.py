"""The interface of systems: masks, orders, halves, sub-networks, options, and building by name."""

from __future__ import annotations

import re

import pytest
import torch
from small_systems import (
    CONDITIONS,
    DIMS,
    OPTIONS,
    SYSTEMS,
    TEACHERS,
    TRIPLES,
    batch_of,
    padded,
    random_utterances,
    reversed_triple,
    small_system,
)
from torch import nn

from nmer.errors import ConfigError
from nmer.options import Weight
from nmer.systems.building import build_system
from nmer.systems.interface import System, concatenate, halves
from nmer.systems.registry import check_teacher, pretraining, systems


def test_the_mask_is_true_for_frames_within_the_length():
    valid = padded([torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(1, 3)]).valid()
    assert valid.tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]


def test_encodings_are_concatenated_in_the_order_a_l_v():
    encodings = {m: torch.full((1, 2), value) for m, value in (("v", 2.0), ("a", 1.0), ("l", 3.0))}
    assert concatenate(encodings).tolist() == [[1, 1, 3, 3, 2, 2]]


def test_specific_and_invariant_halves_are_concatenated_separately():
    encodings = {m: torch.tensor([[value, -value]]) for m, value in (("a", 1.0), ("v", 2.0), ("l", 3.0))}
    specific, invariant = halves(encodings)
    assert (specific.tolist(), invariant.tolist()) == ([[1, 3, 2]], [[-1, -3, -2]])


def test_a_forward_pass_encodes_each_modality_and_fuses_the_encodings():
    class Recorder(System):
        def encode(self, modality, sequences):
            return sequences.values.sum(dim=(1, 2))

        def fuse(self, encodings):
            return encodings

    observed = {m: padded([torch.full((2, dim), float(dim))]) for m, dim in DIMS.items()}
    batch = type("Observed", (), {"observed": observed, "noisy": {}})
    outputs = Recorder(DIMS, 2, 0.0)(batch)
    assert {m: output.item() for m, output in outputs.items()} == {m: 2.0 * dim**2 for m, dim in DIMS.items()}


def test_a_forward_pass_encodes_only_the_modalities_that_the_system_reads():
    class Recorder(System):
        modalities = ("l", "a")

        def encode(self, modality, sequences):
            return modality, sequences

        def fuse(self, encodings):
            return encodings

    batch = type("Observed", (), {"observed": {"a": 1, "l": 3}, "noisy": {}})
    assert Recorder(DIMS, 2, 0.0)(batch) == {"l": ("l", 3), "a": ("a", 1)}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_reversed_triple_is_clean_where_the_input_is_noisy_and_noisy_where_it_is_clean(condition):
    batch = batch_of(random_utterances(count=3), conditions=(condition,))
    teacher = {"c": batch.teacher_clean, "n": batch.teacher_noisy}
    _input, states = TRIPLES[condition]
    found = batch.teacher_reversed()
    assert set(found) == {"a", "v", "l"}
    for modality, state in zip("avl", states, strict=True):
        assert torch.equal(found[modality], teacher[state][modality]), modality


def test_the_triple_of_every_utterance_is_reversed_independently():
    conditions = ("vl", "none", "a", "al", "a", "v", "l", "av")
    batch = batch_of(random_utterances(count=8), conditions=conditions)
    expected = reversed_triple(batch, conditions)
    assert all(torch.equal(values, expected[m]) for m, values in batch.teacher_reversed().items())


ENCODERS = "encoders.a encoders.v encoders.l "
STACK = "towers.specific.a towers.specific.v towers.specific.l towers.invariance_mlp "
TWO_TOWERS = STACK + "towers.invariance.a towers.invariance.v towers.invariance.l "
CONTRASTIVE_TOWERS = TWO_TOWERS.replace("towers.invariance_mlp ", "")
PROJECTIONS = "projections.a projections.v projections.l "
EXPERTS = "experts.a experts.v experts.l "
VAE = "vae_encoder vae_decoder "
SUBNETWORKS = {
    "men": ENCODERS + "classifier",
    "shared": STACK + "classifier",
    "two_tower": TWO_TOWERS + "classifier",
    "mctn": "translators.a translators.v translators.l classifier",
    "mctn hier": "text_to_vision joint_to_audio classifier",
    "mmin": ENCODERS + "imagination cycle classifier",
    "if_mmin": STACK + "imagination classifier",
    "nmer": TWO_TOWERS + VAE + "classifier",
    "nmer stacked": STACK + VAE + "classifier",
    "nmer_no_vae": TWO_TOWERS + "classifier",
    "nmer_no_vae stacked": STACK + "classifier",
    "nmer_no_inv": TWO_TOWERS + VAE + "classifier",
    "nmer_no_inv stacked": STACK + VAE + "classifier",
    "experts": PROJECTIONS + EXPERTS + "classifiers.a classifiers.v classifiers.l",
    "experts mean": PROJECTIONS + EXPERTS + "classifiers.a classifiers.v classifiers.l",
    "momke": PROJECTIONS + EXPERTS + "routers.a routers.v routers.l joint classifier",
    "momke mean": PROJECTIONS + EXPERTS + "routers.a routers.v routers.l joint classifier",
    "lnln": ENCODERS
    + "completeness proxy_start generator language hyper_start hyper fusion classifier discriminator "
    + "reconstructors.a reconstructors.v reconstructors.l",
    "emt_dlfr": ENCODERS
    + "exchange pooling classifier attraction.global attraction.a attraction.v attraction.l "
    + "reconstruction.a reconstruction.v reconstruction.l",
    "contrastive": CONTRASTIVE_TOWERS + "projections.a projections.v projections.l classifier",
    "cif_mmin": CONTRASTIVE_TOWERS + "imagination classifier",
    "unimodal_a": "encoder classifier",
    "unimodal_v": "encoder classifier",
    "unimodal_l": "encoder classifier",
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_subnetworks_are_the_named_modules_and_contain_every_parameter(name):
    system = small_system(name)
    found = list(system.subnetworks())
    expected = [system.get_submodule(path) for path in SUBNETWORKS[name].split()]
    assert sorted(id(part) for part in found) == sorted(id(part) for part in expected)
    clipped = [id(parameter) for part in found for parameter in part.parameters()]
    assert sorted(clipped) == sorted(id(parameter) for parameter in system.parameters())


INHERITED = {"momke": ("projections", "experts")}
DROPPED = {"cif_mmin": ("projections",)}
"""Heads of a pretraining that only its loss reads."""


@pytest.mark.parametrize("name", TEACHERS)
def test_a_system_inherits_exactly_the_weights_of_its_teachers_encoders(name):
    teacher, student = small_system(TEACHERS[name]), small_system(name)
    assert pretraining(systems.declaration(name.split()[0]), OPTIONS[name]) == TEACHERS[name].split()[0]
    before = {key: value.clone() for key, value in student.state_dict().items()}
    student.inherit(teacher)
    after, source = student.state_dict(), teacher.state_dict()
    inherited = {key for key in after if key.split(".")[0] in INHERITED.get(name.split()[0], ("encoders", "towers"))}
    assert inherited == {key for key in source if not key.startswith(("classifier", *DROPPED.get(name, ())))}
    for key, value in after.items():
        assert torch.equal(value, source[key] if key in inherited else before[key]), key
    # Seeds differ, so a missing inheritance shows in the weights; biases are zero in both.
    assert all(not torch.equal(before[key], source[key]) for key in inherited if "weight" in key)
    # Inherited weights are copies.
    for parameter in student.parameters():
        parameter.data.fill_(7.0)
    assert all((value != 7).any() for value in source.values())


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in TEACHERS])
def test_a_system_without_a_teacher_inherits_nothing(name):
    assert pretraining(systems.declaration(name.split()[0]), OPTIONS[name]) is None
    assert small_system(name).inherited == ()


def test_every_layer_of_a_built_system_is_initialised():
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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("men", {"widht": 1}, r"systems\.men: unknown key 'widht'\. There are none\."),
        ("nmer", {"feedforward": 1}, r"systems\.nmer: unknown key 'feedforward'\. Did you mean 'feed_forward'\?"),
        ("nmer", {"layers": 2.5}, r"systems\.nmer\.layers: 2\.5 is not like its default 5\. Correct it\."),
        ("nmer", {"residual": 1}, r"systems\.nmer\.residual: 1 is not like its default False\. Correct it\."),
        (
            "nmer",
            {"invariance": "three_tower"},
            r"systems\.nmer\.invariance: 'three_tower' is not possible\. Choose from: two_tower, stacked\.",
        ),
        (
            "nmer_no_vae",
            {"invariance": "none"},
            r"systems\.nmer_no_vae\.invariance: 'none' is not possible\. Choose from: two_tower, stacked\.",
        ),
        (
            "nmer_no_inv",
            {"divergence_reduction": "median"},
            r"\.divergence_reduction: 'median' is not possible\. Choose from: mean, batch_mean, sum\.",
        ),
        (
            "two_tower",
            {"invariant_features": "softmax"},
            r"systems\.two_tower\.invariant_features: 'softmax' is not possible\. Choose from: raw, sigmoid, tanh\.",
        ),
        ("shared", {"discrepancy_weight": -1.0}, r"systems\.shared\.discrepancy_weight: -1\.0 is too small\."),
        ("nmer", {"layers": 0}, r"systems\.nmer\.layers: 0 is too small\. Give at least 1\."),
        ("nmer_no_inv", {"latent": 0}, r"systems\.nmer_no_inv\.latent: 0 is too small\. Give at least 1\."),
        ("mctn", {"steps": 0}, r"systems\.mctn\.steps: 0 is too small\. Give at least 1\."),
        ("nmer_no_inv", {"invariance_weight": 1.0}, r"systems\.nmer_no_inv: unknown key 'invariance_weight'\."),
    ],
)
def test_an_unknown_option_or_value_is_refused_when_planned_and_when_built(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_system(name, DIMS, 3, 0.5, options)
    with pytest.raises(ConfigError, match=message):
        pretraining(systems.declaration(name), options)


def test_an_integer_is_accepted_for_a_float_option():
    assert build_system("mmin", DIMS, 3, 0.5, {"cycle_weight": 3}).weights["cycle"] == 3


def test_a_custom_system_is_built_from_its_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\nfrom nmer.systems.interface import System\n"
        "from nmer.systems.registry import system\n\n\n"
        '@system("mine", pretraining="none", regimes=("incomplete",))\n'
        "class Mine(System):\n"
        "    width: int = 4\n\n"
        "    def __init__(self, dims, classes, dropout, **options):\n"
        "        super().__init__(dims, classes, dropout, **options)\n"
        "        self.layer = nn.Linear(self.width, classes)\n"
    )
    assert build_system("mine", DIMS, 3, 0.5, {}, str(path)).layer.in_features == 4
    assert build_system("mine", DIMS, 3, 0.5, {"width": 9}, str(path)).layer.in_features == 9


def test_an_ablation_in_a_custom_file_inherits_the_attributes_of_its_system(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        '@system("mine", pretraining="men", fewest_modalities=2, divisors_per_modality={"heads": 8, "parts": 6})\n'
        "class Mine:\n    heads: int = 2\n    parts: int = 3\n\n\n"
        '@system("less", ablation_of="mine", regimes=("incomplete",))\nclass Less:\n    heads: int = 2\n\n\n'
        '@system("whole", ablation_of="nmer_no_inv", fewest_modalities=3)\nclass Whole:\n    pass\n'
    )
    assert systems.declaration("less", str(path)).attributes == {
        "ablation_of": "mine",
        "pretraining": "men",
        "fewest_modalities": 2,
        "regimes": ("incomplete",),
        "divisors_per_modality": {"heads": 8},
    }
    found = systems.declaration("whole", str(path)).attributes
    assert (found["ablation_of"], found["fewest_modalities"], found["regimes"]) == ("nmer_no_inv", 3, ("incomplete",))


class Weighted(System):
    """Two terms, one of them with a weight."""

    penalty_weight: Weight = 2.0

    def loss_terms(self, outputs, batch):
        return {"penalty": outputs["logits"].sum(), "plain": outputs["logits"].mean()}


def test_an_option_that_ends_in_weight_weights_the_term_of_that_name():
    outputs = {"logits": torch.tensor([[1.0, 2.0]])}
    assert Weighted(DIMS, 2, 0.0).loss(outputs, None) == {"penalty": 6.0, "plain": 1.5}
    assert Weighted(DIMS, 2, 0.0, penalty_weight=0.5).loss(outputs, None) == {"penalty": 1.5, "plain": 1.5}


def test_a_weight_without_a_term_is_refused():
    class Misspelt(Weighted):
        penality_weight: Weight = 1.0

    with pytest.raises(ConfigError, match=r"^Misspelt: its option penality_weight weights no term of the loss\. Name"):
        Misspelt(DIMS, 2, 0.0).loss({"logits": torch.ones(1, 2)}, None)


def test_an_option_that_no_class_declares_is_refused():
    with pytest.raises(TypeError, match="Weighted declares no option 'width'"):
        Weighted(DIMS, 2, 0.0, width=3)


def test_a_constructor_that_does_not_pass_options_on_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from nmer.systems.interface import System\nfrom nmer.systems.registry import system\n\n\n"
        '@system("mine")\nclass Mine(System):\n    width: int = 4\n\n'
        "    def __init__(self, dims, classes, dropout, **options):\n        super().__init__(dims, classes, dropout)\n"
    )
    build_system("mine", DIMS, 3, 0.5, {}, str(path))
    with pytest.raises(ConfigError, match=r"^systems\.mine: its constructor does not pass 'width' on\. Take"):
        build_system("mine", DIMS, 3, 0.5, {"width": 9}, str(path))


WITH_INVARIANT_FEATURES = ("if_mmin", "nmer", "nmer stacked", "nmer_no_vae", "nmer_no_vae stacked", "nmer_no_inv")


@pytest.mark.parametrize("form", ["sigmoid", "tanh"])
@pytest.mark.parametrize("name", WITH_INVARIANT_FEATURES)
def test_a_system_and_its_teacher_bound_invariant_features_in_the_same_way(name, form):
    raw, bounded = small_system(name).eval(), small_system(name, invariant_features=form).eval()
    teacher = small_system(TEACHERS[name], invariant_features=form).eval()
    bounded.load_state_dict(raw.state_dict())
    sequences = padded(random_utterances()["v"])
    specific, invariant = raw.encode("v", sequences).chunk(2, dim=1)
    expected = 1 / (1 + (-invariant).exp()) if form == "sigmoid" else 1 - 2 / ((2 * invariant).exp() + 1)
    torch.testing.assert_close(bounded.encode("v", sequences), torch.cat([specific, expected], dim=1))
    bounded.inherit(teacher)
    torch.testing.assert_close(bounded.encode("v", sequences), teacher.encode("v", sequences))


@pytest.mark.parametrize(
    ("name", "options", "teacher_options", "message"),
    [
        ("nmer", {}, {}, None),
        ("nmer", {"invariant_features": "tanh"}, {"invariant_features": "tanh", "discrepancy_weight": 0.1}, None),
        ("nmer", {}, {"discrepancy_scaling": True}, None),
        (
            "nmer",
            {"invariant_features": "tanh"},
            {},
            "systems.two_tower.invariant_features: it is 'raw', but systems.nmer.invariant_features is 'tanh'. "
            "Set both to the same value.",
        ),
        (
            "nmer_no_vae",
            {},
            {"invariant_features": "sigmoid"},
            "systems.two_tower.invariant_features: it is 'sigmoid', but systems.nmer_no_vae.invariant_features is "
            "'raw'. Set both to the same value.",
        ),
        (
            "men",
            {},
            {"invariant_features": "sigmoid"},
            "systems.two_tower.invariant_features: 'men' starts from it but has no such option. Remove it.",
        ),
    ],
)
def test_a_teacher_with_other_invariant_features_is_refused_but_not_one_with_other_loss_options(
    name, options, teacher_options, message
):
    arguments = (systems.declaration(name), options, systems.declaration("two_tower"), teacher_options)
    if message is None:
        check_teacher(*arguments)
        return
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        check_teacher(*arguments)
