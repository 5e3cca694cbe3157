"""Variants of a system in the plan share equal trainings and otherwise have separate files."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.grid import Corruption
from nmer.plan.plan import Plan

LEVEL = Corruption("gaussian", -10)


def make_plan(variants: dict[str, dict], systems: list[str] | None = None, **experiment: object) -> Plan:
    """Plan the tiny experiment with these variants after NMER, or with other ``systems``."""
    config = shipped_config() | {"experiment": "tiny", "systems": variants}
    config["experiments"]["tiny"] |= {"systems": systems or ["nmer", *variants]} | experiment
    return Plan(config)


def run_settings(plan: Plan, system: str) -> dict:
    w = SimpleNamespace(dataset="tiny_iemocap", regime="incomplete", corruption="gaussian_-10dB", fold=1, system=system)
    return json.loads(plan.training_settings(w))


def folders(plan: Plan, stage: str) -> set[str]:
    """Return the folder names of trained systems, or of teachers, on one dataset."""
    place = plan.folder / stage / "tiny_iemocap"
    made = {plan.trained(training) for training in plan.trainings()}
    return {path.relative_to(place).parts[0] for path in made if path.is_relative_to(place)}


def test_a_variant_equal_to_its_kind_shares_the_training_but_not_the_scores():
    plain, plan = make_plan({}), make_plan({"nmer_same": {"kind": "nmer", "divergence_weight": 1, "layers": 1}})
    assert plan.trainings() == plain.trainings()
    scored = {path.parts[4] for path in plan.scores()}
    assert scored == {"nmer", "nmer_same"}
    w = SimpleNamespace(dataset="tiny_iemocap", system="nmer_same", regime="incomplete", corruption="gaussian_-10dB")
    assert plan.models(w) == plan.models(SimpleNamespace(**vars(w) | {"system": "nmer"}))
    settings = json.loads(plan.evaluation_settings(w))
    assert (settings["system"], settings["name"]) == ("nmer", "nmer_same")


def test_equal_variants_are_trained_once():
    plan = make_plan({name: {"kind": "nmer", "divergence_weight": 0.1} for name in ("first", "second")})
    assert folders(plan, "runs") == {"nmer", "first"}


def test_a_variant_has_the_settings_and_teacher_of_its_kind_except_for_its_changes():
    options = {"kind": "nmer", "divergence_weight": 0.1, "training": {"learning_rate": 0.0005}}
    plan = make_plan({"nmer_kl01": options})
    kind, variant = run_settings(plan, "nmer"), run_settings(plan, "nmer_kl01")
    assert variant.pop("training") == kind.pop("training") | {"learning_rate": 0.0005}
    assert variant.pop("options") == kind.pop("options") | {"divergence_weight": 0.1}
    assert variant == kind
    assert folders(plan, "runs") == {"nmer", "nmer_kl01"}
    assert folders(plan, "teachers") == {"two_tower"}


@pytest.mark.parametrize(
    "change", [{"training": {"pretraining": {"dropout": 0.3}}}, {"invariant_features": "sigmoid"}], ids=["keys", "form"]
)
def test_a_variant_that_changes_the_pretraining_has_its_own_teacher(change):
    plan = make_plan({"other": {"kind": "nmer"} | change})
    assert folders(plan, "teachers") == {"two_tower", "two_tower.other"}
    w = SimpleNamespace(dataset="tiny_iemocap", fold=1, stage="two_tower.other")
    own, plain = (
        json.loads(plan.training_settings(SimpleNamespace(**vars(w) | {"stage": stage})))
        for stage in ("two_tower.other", "two_tower")
    )
    assert own["system"] == plain["system"] == "two_tower"
    assert own != plain
    assert run_settings(plan, "other").get("teacher") == ({"options": own["options"]} if "options" in own else None)
    (teacher,) = plan.teacher(SimpleNamespace(dataset="tiny_iemocap", system="other", fold=1))
    assert teacher.parent.parent.name == "two_tower.other"


def test_training_keys_of_a_system_apply_only_to_it_its_variants_and_its_ablations():
    sections = {"nmer": {"training": {"learning_rate": 0.001}}, "nmer_b": {"kind": "nmer", "latent": 8}}
    plan = make_plan(sections, ["mmin", "nmer", "nmer_no_vae", "nmer_b"])
    rates = {system: run_settings(plan, system)["training"].get("learning_rate") for system in plan.systems}
    assert rates == {"mmin": None, "nmer": 0.001, "nmer_no_vae": 0.001, "nmer_b": 0.001}


def test_titles_affect_only_jobs_that_print_them():
    named, plain = (
        make_plan({"b": {"kind": "nmer", "latent": 8, "title": "NMER 8"}}),
        make_plan({"b": {"kind": "nmer", "latent": 8}}),
    )
    assert json.loads(named.tables_settings())["titles"] == {"b": "NMER 8"}
    assert run_settings(named, "b") == run_settings(plain, "b")
    assert named.scored_settings() == plain.scored_settings()


FAULTS = {
    "unknown kind": ({"v": {"kind": "nmerr"}}, "systems.v.kind: Unknown system 'nmerr'. Did you mean 'nmer'?"),
    "a system's name": ({"men": {"kind": "nmer"}}, "systems.men.kind: 'men' is itself a system."),
    "a variant as kind": ({"v": {"kind": "nmer"}, "w": {"kind": "v"}}, "systems.w.kind: 'v' is itself a variant."),
    "a reference row": ({"v": {"kind": "majority"}}, "systems.v.kind: 'majority' is a reference row"),
    "a uni-modal system": ({"v": {"kind": "unimodal_a"}}, "systems.v.kind: 'unimodal_a' is a system of the uni-mod"),
    "a pretraining": ({"v": {"kind": "two_tower"}}, "systems.v.kind: 'two_tower' is a pretraining stage"),
    "a pretraining of a system without one": (
        {"v": {"kind": "men", "training": {"pretraining": {"dropout": 0.1}}}},
        "systems.v.training.pretraining: 'men' has no pretraining. Remove the key.",
    ),
    "the name of a regime": ({"clean": {"kind": "men"}}, "systems.clean: 'clean' is the name of a regime"),
    "the printed name of another system": (
        {"v": {"kind": "men", "title": "NMER"}},
        "systems.v.title: 'NMER' is the printed name of 'nmer' too. Choose another.",
    ),
    "the title of another variant": (
        {"v": {"kind": "men", "title": "Ours"}, "w": {"kind": "mmin", "title": "ours"}},
        "systems.w.title: 'ours' is the printed name of 'v' too.",
    ),
    "unknown option": ({"v": {"kind": "nmer", "titel": "x"}}, "systems.v: unknown key 'titel'. Did you mean 'title'?"),
    "unknown training key": (
        {"v": {"kind": "nmer", "training": {"learning_rat": 1}}},
        "systems.v.training: unknown key 'learning_rat'. Did you mean 'learning_rate'?",
    ),
    "no epochs": (
        {"v": {"kind": "nmer", "training": {"constant_epochs": 0, "decay_epochs": 0}}},
        "systems.v.training: constant_epochs and decay_epochs are both 0.",
    ),
    "keep_models in a variant": (
        {"v": {"kind": "nmer", "training": {"keep_models": True}}},
        "systems.v.training: keep_models",
    ),
    "a title that is a number": ({"v": {"kind": "nmer", "title": 3}}, "systems.v.title: 3 is not of type string."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_impossible_variant_is_refused_with_its_key(fault):
    variants, message = FAULTS[fault]
    with pytest.raises(ConfigError) as raised:
        make_plan(variants)
    assert message in str(raised.value)


def test_a_kind_in_an_experiments_overrides_is_refused():
    with pytest.raises(ConfigError, match=r"system_options\.nmer: 'kind' belongs in systems\.nmer"):
        make_plan({}, system_options={"nmer": {"kind": "mmin"}})
