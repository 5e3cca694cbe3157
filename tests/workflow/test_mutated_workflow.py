"""Mutated configurations are planned by Snakemake or refused in one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from nmer.errors import NmerError

SEEDS = 25


def mutations():
    """Load `tests/plan/test_mutations.py`, which generates the mutants."""
    path = Path(__file__).resolve().parents[1] / "plan" / "test_mutations.py"
    spec = importlib.util.spec_from_file_location("mutations", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.ci) if seed == 0 else seed for seed in range(SEEDS)]
)
def test_snakemake_plans_a_mutated_configuration_or_refuses_it_in_one_line(fresh_workflow, seed, monkeypatch):
    module = mutations()
    monkeypatch.chdir(fresh_workflow.folder)
    # Alternate between accepted and refused configurations: most are refused.
    wanted, found = seed % 2 == 0, None
    for number in range(5000 + 200 * seed, 5200 + 200 * seed):
        config = module.mutant(number)
        try:
            text = yaml.dump(config, allow_unicode=True)
        except (RecursionError, UnicodeError, yaml.YAMLError):
            continue
        if accepted(module, yaml.unsafe_load(text)) == wanted:
            found = text
            break
    assert found is not None
    path = fresh_workflow.folder / "config.yaml"
    before = path.read_text()
    path.write_text(found, encoding="utf-8")
    name = yaml.unsafe_load(found).get("experiment")
    try:
        finished = fresh_workflow.snakemake("--dry-run", "--quiet", "rules", experiment=str(name))
    finally:
        path.write_text(before)
    output = finished.stdout + finished.stderr
    assert "Traceback" not in output, output
    assert (finished.returncode == 0) == wanted, output
    if not wanted:
        assert "Error" in output


def accepted(module, config) -> bool:
    try:
        return module.outcome(config) == ""
    except NmerError:
        return False
