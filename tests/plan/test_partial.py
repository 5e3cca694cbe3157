"""The partial report in the plan: the steps that make its tables from existing files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shipped import shipped_config

from nmer.plan.partial import claims_arguments, comparison_steps, table_steps
from nmer.plan.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
MADE = Path("results/tiny/partial")


@pytest.fixture
def plan(monkeypatch, tmp_path) -> Plan:
    """An experiment with a sweep and test levels, in an empty folder."""
    config = shipped_config() | {"experiment": "tiny"}
    sweep = {"system": "men", "over": {"training.dropout": [0.1, 0.5]}}
    config["experiments"]["tiny"] |= {"sweep": sweep, "train_at": "mixed", "tables": [1, 2], "folds": 2}
    monkeypatch.chdir(tmp_path)
    return Plan(config)


def finish(history: Path) -> None:
    history.parent.mkdir(parents=True)
    history.touch()


def test_the_partial_report_has_tables_of_levels_and_of_finished_sweeps(plan):
    first, second, *_ = plan.sweep_histories()
    assert first.parents[1] == second.parents[1], "two folds of one training"
    finish(first)
    steps = table_steps(plan, MADE, [])
    assert list(steps) == [MADE / "tables" / name for name in ("table1", "table2", "levels")]
    finish(second)
    steps = table_steps(plan, MADE, [])
    assert list(steps) == [MADE / "tables" / name for name in ("table1", "table2", "sweep", "levels")]
    scores, chance = ["--scores", MADE / "scores.csv"], ["--chance", MADE / "statistics" / "chance.csv"]
    levels = ["tabulate_levels.py", "--settings", plan.tables_settings(), *scores, *chance]
    assert steps[MADE / "tables" / "levels"] == levels
    sweep = ["tabulate_sweep.py", "--settings", plan.sweep_settings(), *scores, *chance, "--histories", first, second]
    assert steps[MADE / "tables" / "sweep"] == sweep


def test_the_table_of_sizes_has_the_datasets_that_have_been_read(plan):
    def settings(*reports: str) -> dict:
        step = table_steps(plan, MADE, [Path(f"results/features/{name}.json") for name in reports])
        words = step[MADE / "tables" / "table1"]
        return json.loads(str(words[words.index("--settings") + 1]))

    every = settings(*plan.datasets)
    assert every == json.loads(plan.table_settings(1))
    one = settings("tiny_mosei")
    assert one.pop("datasets") == {"tiny_mosei": every.pop("datasets")["tiny_mosei"]}
    assert one == every


def test_tables_and_claims_read_the_papers_numbers_of_the_workflow_from_any_folder(plan):
    reference = str(REPOSITORY / "workflow" / "reference")
    step = list(map(str, table_steps(plan, MADE, [])[MADE / "tables" / "table2"]))
    assert step[step.index("--reference") + 1] == reference
    claims = list(map(str, claims_arguments(plan, MADE, [])))
    assert claims[claims.index("--reference") + 1] == reference
    assert claims[claims.index("--claims") + 1] == f"{reference}/claims.toml"


def test_comparisons_read_the_scores_of_both_experiments(plan):
    assert comparison_steps(plan, MADE) == {}
    plan.experiment["compare_with"] = ["demo"]
    ((stem, scores, step),) = comparison_steps(plan, MADE).values()
    assert stem == MADE / "tables" / "beside_demo"
    assert scores == [Path("results/demo/scores.csv"), MADE / "scores.csv"]
    assert step[0] == "compare_with.py"
    assert step[-2:] == scores
