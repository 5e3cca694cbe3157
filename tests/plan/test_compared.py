"""``compare_with`` of an experiment adds comparisons with other experiments to its report."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError, DataError
from nmer.plan.jobs import jobs
from nmer.plan.plan import Plan


def plan(others: object) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"]["compare_with"] = others
    return Plan(config)


def test_each_comparison_is_a_table_that_needs_both_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = plan(["demo", "mosi"])
    made = [job for job in jobs(planned) if job.rule == "compare_with"]
    assert [job.output for job in made] == [Path(f"results/tiny/tables/beside_{name}.csv") for name in ("demo", "mosi")]
    assert '"first": "demo"' in planned.compared_settings(SimpleNamespace(other="demo"))
    with pytest.raises(DataError, match=r"compare_with: results/demo/scores.csv does not exist\. Make it first \(nmer"):
        planned.check_compared()
    for name in ("demo", "mosi"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "scores.csv").touch()
    planned.check_compared()


def test_scores_that_are_missing_from_a_finished_experiment_are_named_in_the_advice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape("Make it first (nmer run demo), or remove 'demo' from the list.")):
        plan(["demo"]).check_compared()
    Path("results/demo").mkdir(parents=True)
    Path("results/demo/report.html").touch()
    with pytest.raises(DataError, match=re.escape("(nmer run demo -- results/demo/scores.csv), or remove")):
        plan(["demo"]).check_compared()


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["dmo"], "experiments.tiny.compare_with: unknown name 'dmo' (not among experiments). Did you mean 'demo'?"),
        (["tiny"], "experiments.tiny.compare_with: 'tiny' is the experiment itself. Name another one."),
        ("demo", "experiments.tiny.compare_with"),
        ([], "experiments.tiny.compare_with"),
        (["demo", "demo"], "experiments.tiny.compare_with"),
    ],
)
def test_experiments_that_cannot_be_compared_are_refused_in_one_line(others, message):
    with pytest.raises(ConfigError) as error:
        plan(others)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
