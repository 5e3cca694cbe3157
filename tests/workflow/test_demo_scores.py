"""In the finished demo every system learns under noise and degrades with more noise, and NMER is not the worst.

Reads `results/demo` of this repository, which `make` leaves there. Where it is absent the tests are skipped, or fail if
it is required (`make test-demo`). Each repeat must pass individually.
"""

from __future__ import annotations

import os

import pandas as pd
import pytest
import yaml
from workflow_copy import REPOSITORY

from nmer.names import SIX_CONDITIONS, UNIMODAL_SYSTEMS
from nmer.references.registry import REFERENCES
from nmer.results.chance import per_cell, read_trainings
from nmer.results.scores import of_regime, read_scores

DEMO = REPOSITORY / "results" / "demo"
REQUIRED = os.environ.get("NMER_DEMO") == "required"
EXPERIMENT = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["experiments"]["demo"]
CHANCE = {"demo_iemocap": 1 / 4, "demo_mosei": 1 / 2}
MARGIN = 0.15
MULTIMODAL = [system for system in EXPERIMENT["systems"] if system not in (*UNIMODAL_SYSTEMS, *REFERENCES)]
MILD, HARD = -10, -40
KEY = ["dataset", "system", "snr_db", "repeat"]


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """All UA scores under Gaussian noise."""
    if not (DEMO / "report.html").exists():
        say = pytest.fail if REQUIRED else pytest.skip
        say("needs results/demo: make")
    found = read_scores(DEMO / "scores.csv")
    return found[(found["metric"] == "UA") & (found["noise"] == "gaussian")]


@pytest.fixture(scope="module")
def incomplete(scores) -> pd.Series:
    """UA of the multimodal systems over the incomplete conditions, by KEY."""
    chosen = of_regime(scores[scores["system"].isin(MULTIMODAL)], "incomplete")
    chosen = chosen[chosen["condition"].isin(SIX_CONDITIONS)]
    means = chosen.groupby(KEY)["value"].agg(["mean", "size"])
    assert (means["size"] == len(SIX_CONDITIONS)).all()
    assert set(means.index) == {
        (dataset, system, level, repeat)
        for dataset in EXPERIMENT["datasets"]
        for system in MULTIMODAL
        for level in (MILD, HARD)
        for repeat in range(1, EXPERIMENT["repeats"] + 1)
    }
    return means["mean"]


@pytest.fixture(scope="module")
def unimodal(scores) -> pd.Series:
    """UA of the uni-modal systems with their modality noisy, by KEY."""
    chosen = scores[scores["system"].isin(UNIMODAL_SYSTEMS) & (scores["condition"] == "none")]
    means = chosen.set_index(KEY)["value"]
    levels = EXPERIMENT["unimodal"]["snr_db"]
    assert len(means) == len(UNIMODAL_SYSTEMS) * len(levels) * EXPERIMENT["repeats"]
    return means


def test_the_demo_overrides_no_loss_weight():
    options = EXPERIMENT.get("system_options", {})
    assert not [key for overrides in options.values() for key in overrides if key.endswith("_weight")]


@pytest.mark.parametrize("dataset", CHANCE)
def test_every_system_is_clearly_above_chance_under_mild_noise(incomplete, dataset):
    mild = incomplete.xs((dataset, MILD), level=("dataset", "snr_db"))
    assert mild.min() >= CHANCE[dataset] + MARGIN, mild.sort_values().head(5).to_string()


@pytest.mark.parametrize("dataset", CHANCE)
def test_every_system_degrades_with_more_noise(incomplete, dataset):
    mild, hard = (incomplete.xs((dataset, level), level=("dataset", "snr_db")) for level in (MILD, HARD))
    lost = mild - hard
    assert lost.min() > 0, lost.sort_values().head(5).to_string()


@pytest.mark.parametrize("dataset", CHANCE)
def test_nmer_is_not_the_worst(incomplete, dataset):
    mild = incomplete.xs((dataset, MILD), level=("dataset", "snr_db")).unstack("repeat")
    assert (mild.loc["nmer"] > mild.drop("nmer").min()).all(), mild.to_string()


def test_a_single_modality_is_clearly_above_chance_at_its_mildest_level_and_degrades_with_more_noise(unimodal):
    levels = EXPERIMENT["unimodal"]["snr_db"]
    mild, hard = (unimodal.xs(level, level="snr_db") for level in (max(levels), min(levels)))
    chance = mild.index.get_level_values("dataset").map(CHANCE)
    assert (mild >= chance + MARGIN).all(), mild.to_string()
    assert (mild > hard).all(), (mild - hard).to_string()


def test_no_cell_under_mild_noise_is_marked_at_chance(scores):
    trainings = read_trainings(DEMO / "statistics" / "chance.csv")
    marks = of_regime(per_cell(trainings), "incomplete")
    mild = marks[marks["system"].isin(MULTIMODAL) & (marks["condition"] == "average") & (marks["snr_db"] == MILD)]
    assert len(mild) == len(EXPERIMENT["datasets"]) * len(MULTIMODAL)
    assert (mild["at_chance"] == 0).all(), mild[mild["at_chance"] > 0].to_string()
