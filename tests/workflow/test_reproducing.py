"""The numbers of docs/reproducing.md match the plan of the paper's experiment."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from shipped import write_empty_corpora
from test_documentation import base_config, code_blocks, table_rows

from nmer.plan.plan import Plan
from nmer.systems.building import build_system

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "reproducing.md").read_text()
CLASSES = {"iemocap": 4, "mosei": 2}
BYTES = 4


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder = tmp_path_factory.mktemp("corpora")
    write_empty_corpora(folder)
    return Plan(base_config() | {"experiment": "paper", "data": str(folder)})


def gigabytes_of_weights(plan: Plan, dataset: str, system: str) -> float:
    """Return the size of the weights of all repeats of one job."""
    with torch.device("meta"):
        built = build_system(system, plan.config["datasets"][dataset]["dims"], CLASSES[dataset], 0.5)
    return plan.repeats * BYTES * sum(parameter.numel() for parameter in built.parameters()) / 1e9


def test_the_jobs_of_every_system_are_counted(plan):
    counts = Counter((training.dataset, training.system) for training in plan.trainings())
    rows = [row for row in table_rows(PAGE) if len(row) == 3 and row[2].isdigit()]
    assert rows.pop() == ["all", *(str(sum(n for (d, _s), n in counts.items() if d == name)) for name in CLASSES)]
    for names, *stated in rows:
        listed = re.findall(r"`(\w+)`", names)
        assert [int(cell) for cell in stated] == [sum(counts[d, s] for s in listed) for d in CLASSES]
    assert {system for _dataset, system in counts} == {s for names, *_ in rows for s in re.findall(r"`(\w+)`", names)}


def test_the_totals_in_the_text_match_the_plan(plan):
    jobs, evaluations = len(plan.trainings()), len(plan.evaluations())
    copies = {dataset: len(plan.corruptions_of(dataset)) for dataset in CLASSES}
    assert f"{jobs} training jobs" in PAGE
    assert f"{jobs * plan.repeats} trainings" in PAGE
    assert f"{evaluations} evaluations, and {sum(copies.values())} noisy copies" in PAGE
    assert f"{copies['iemocap']} copies of IEMOCAP, {copies['mosei']} of CMU-MOSEI" in PAGE


@pytest.mark.slow
def test_the_gigabytes_of_weights_match_the_grid(plan):
    noisy, clean, largest = 0.0, 0.0, 0.0
    for training in plan.trainings():
        size = gigabytes_of_weights(plan, training.dataset, training.system)
        noisy += size if training.corruption else 0
        clean += 0 if training.corruption else size
        largest += size if training.system in ("nmer", "nmer_no_inv") else 0
    stated = {row[0]: row[1] for row in table_rows(PAGE)}
    assert stated["weights of trainings on noisy data"] == str(round(noisy))
    assert stated["weights of MEN and pretrainings"] == str(round(clean))
    assert f"{round(largest)} of them are NMER's" in PAGE


def test_the_gigabytes_of_noise_match_copies_of_the_measured_features(plan):
    measured = (REPOSITORY / "docs" / "performance.md").read_text()
    megabytes = {d: int(re.search(rf"\| {d}: features \| (\d+) \|", measured)[1]) for d in CLASSES}
    stated = {row[0]: row[1] for row in table_rows(PAGE)}
    assert math.isclose(float(stated["feature stores"]), sum(megabytes.values()) / 1000, abs_tol=0.06)
    noise = sum(len(plan.corruptions_of(dataset)) * megabytes[dataset] for dataset in CLASSES) / 1000
    assert stated["noisy embeddings"] == str(round(noise))


def test_the_configuration_lines_are_accepted_and_keep_finished_trainings(plan):
    one_fold, smaller = (yaml.safe_load(block) for language, block in code_blocks(PAGE) if language == "yaml")
    config = base_config() | {"experiment": "paper", "data": plan.data}
    config["experiments"]["paper"] |= one_fold["experiments"]["paper"]
    part = Plan(config)
    assert set(part.trainings()) < set(plan.trainings())
    bounded = Plan(base_config() | smaller)
    assert (bounded.keeps_noise, bounded.keeps_models) == (False, False)
