"""Tables and figures of an earlier configuration are named at the end of a run."""

from __future__ import annotations

from pathlib import Path

from shipped import shipped_config

from nmer.plan.leftovers import leftovers, leftovers_sentence
from nmer.plan.plan import Plan


def make_plan(**experiment: object) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"] |= experiment
    return Plan(config)


def write(stem: Path, *suffixes: str, recorded: bool = True) -> None:
    for suffix in suffixes:
        path = stem.with_name(stem.name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if recorded:
            path.with_name(f".{path.name}.made.json").touch()


def test_only_recorded_files_that_no_job_makes_are_left_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    earlier = make_plan(test_at=[-10, -20], figures=["robustness", "levels"])
    for stem in (*earlier.all_table_stems(), earlier.folder / "tables" / "claims"):
        write(stem, ".csv", ".md")
    for stem in earlier.figure_stems():
        write(stem, ".png", ".json")
    write(earlier.folder / "tables" / "my_notes", ".md", recorded=False)
    assert leftovers(earlier) == []
    assert leftovers_sentence(earlier) == ""
    later = make_plan(tables=[1, 2, 3, 4], figures=["robustness"])
    expected = ["figures/levels_tiny_iemocap", "figures/levels_tiny_mosei", "tables/levels", "tables/table5"]
    assert leftovers(later) == expected
    assert f"which the report does not show: {', '.join(expected)}. Delete" in leftovers_sentence(later)
