"""``folds`` of an experiment as a list: only these folds are run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.plan import Plan


def plan(folds: object, datasets: tuple[str, ...] = ("tiny_iemocap",)) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"].update(folds=folds, datasets=list(datasets))
    return Plan(config)


@pytest.mark.parametrize(("listed", "run"), [([3], [3]), ([7, 2.0], [2, 7]), (2, [1, 2]), ("all", list(range(1, 11)))])
def test_the_listed_folds_are_trained_and_tested(listed, run):
    planned = plan(listed)
    assert sorted({job.fold for job in planned.trainings()}) == run
    w = SimpleNamespace(dataset="tiny_iemocap", system="men", regime="clean", corruption="gaussian_-10dB")
    assert json.loads(planned.evaluation_settings(w))["folds"] == run
    assert [path.parent.name for path in planned.models(w)] == [f"fold{fold}" for fold in run]


@pytest.mark.parametrize(
    ("listed", "datasets", "message"),
    [
        (
            [11],
            ("tiny_iemocap",),
            "tiny.folds: fold 11 is listed, but dataset 'tiny_iemocap' has 10 folds.",
        ),
        ([1, 3], ("tiny_iemocap", "tiny_mosei"), "fold 3 is listed, but dataset 'tiny_mosei' has one fold."),
        ([0], ("tiny_iemocap",), "experiments.tiny.folds"),
        ([], ("tiny_iemocap",), "experiments.tiny.folds"),
        ([2, 2], ("tiny_iemocap",), "experiments.tiny.folds"),
        (["three"], ("tiny_iemocap",), "experiments.tiny.folds"),
    ],
)
def test_a_list_that_no_corpus_can_run_is_refused_in_one_line(listed, datasets, message):
    with pytest.raises(ConfigError) as error:
        plan(listed, datasets)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
