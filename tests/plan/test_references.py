"""Reference rows in the plan are scored like systems and fitted once, in one job."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.names import CLASSES, SCORE
from nmer.plan.jobs import jobs
from nmer.plan.outdated import made_by
from nmer.plan.plan import Plan
from nmer.references.registry import REFERENCE_TARGETS

REFERENCES, OF_SCORES = (
    [name for name, own in REFERENCE_TARGETS.items() if own == target] for target in (CLASSES, SCORE)
)
"""The reference rows of classes, and those of scores."""


def make_plan(systems: list[str], experiment: str = "tiny") -> Plan:
    config = shipped_config() | {"experiment": experiment}
    config["experiments"][experiment]["systems"] = systems
    return Plan(config)


def test_references_are_scored_where_systems_are_and_add_no_training():
    alone, both = make_plan(["men", "nmer"]), make_plan(["men", "nmer", *REFERENCES])
    assert both.trainings() == alone.trainings()
    assert set(both.evaluations()) > set(alone.evaluations())
    added = set(both.evaluations()) - set(alone.evaluations())
    places = {(dataset, regime, corruption) for dataset, _, regime, corruption in added}
    assert len(added) == len(REFERENCES) * len(places)
    assert places == {(d, r, c) for d, system, r, c in both.evaluations() if system == "nmer"}
    assert both.histories("tiny_iemocap") == alone.histories("tiny_iemocap")


def test_reference_jobs_have_a_separate_rule_one_training_and_the_code_of_their_plug_in():
    plan = make_plan(["men", "nmer", *REFERENCES])
    assert (plan.trained_systems, plan.reference_systems) == (["men", "nmer"], list(REFERENCES))
    found = {(job.system, job.rule) for job in jobs(plan) if job.stage == "evaluation" and job.system}
    assert found == {("men", "evaluate"), ("nmer", "evaluate"), *((name, "fit_reference") for name in REFERENCES)}
    w = SimpleNamespace(dataset="tiny_iemocap", regime="incomplete", corruption="gaussian_-10dB")
    for name in REFERENCES:
        settings = json.loads(plan.evaluation_settings(SimpleNamespace(**vars(w), system=name)))
        assert settings["repeats"] == 1
        (job,) = [
            job
            for job in jobs(plan)
            if job.system == name and job.dataset == w.dataset and "incomplete" in str(job.output)
        ]
        assert made_by(plan, job)[0] == "fit_reference.py"
    codes = {name: plan.code("fit_reference.py", SimpleNamespace(**vars(w), system=name)) for name in REFERENCES}
    assert len(set(codes.values())) == len(REFERENCES)


def test_wildcard_patterns_distinguish_systems_from_references():
    plan = make_plan(["men", "nmer"])
    assert plan.named(plan.trained_systems) == "men|nmer"
    assert plan.named(plan.reference_systems) == "(?!)"


def test_demo_and_mosi_have_both_references_and_paper_has_none():
    experiments = shipped_config()["experiments"]
    configured = {name: {*REFERENCE_TARGETS} & {*experiments[name]["systems"]} for name in ("demo", "mosi", "paper")}
    assert configured == {"demo": set(REFERENCES), "mosi": set(REFERENCES), "paper": set()}
    assert {*OF_SCORES} <= {*experiments["mosi_score"]["systems"]}


def test_an_experiment_with_only_references_is_refused():
    with pytest.raises(ConfigError, match=r"experiments\.tiny\.systems: contains only reference rows"):
        make_plan(list(REFERENCES))
