"""Every recipe of docs/recipes.md plans what its heading promises."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from shipped import shipped_config
from test_documentation import code_blocks
from workflow_copy import REPOSITORY

from nmer.plan.loading import merge
from nmer.plan.plan import Plan

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text()
BEGINNING, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
RECIPES = {text.partition("\n")[0]: text for text in SECTIONS}
JOB = {"dataset": "demo_mosei", "system": "nmer", "regime": "incomplete", "corruption": "gaussian_-10dB", "fold": 1}


def block(text: str, language: str = "yaml") -> str:
    (found,) = [code for tag, code in code_blocks(text) if tag == language]
    return found


@pytest.fixture
def planned(tmp_path, monkeypatch) -> Callable[[str], Plan]:
    """A function that plans a recipe in a folder with the corpus files of the page."""
    write_corpora(tmp_path / "data")
    monkeypatch.chdir(tmp_path)

    def make(recipe: str = "") -> Plan:
        config = shipped_config()
        merge(config, yaml.safe_load(block(BEGINNING)))
        if recipe:
            merge(config, copy.deepcopy(yaml.safe_load(block(RECIPES[recipe]))))
        return Plan(config)

    return make


def write_corpora(data: Path) -> None:
    for name in ("interviews", "opinions", "iemocap_6"):
        for modality in "avl":
            (data / name / modality).mkdir(parents=True)
            (data / name / modality / "u.npy").touch()  # planning reads only its digest
        (data / name / "utterances.csv").write_text("id,label,speaker\n")


def job(**changed) -> SimpleNamespace:
    return SimpleNamespace(**JOB | changed)


def trained(plan: Plan) -> set[tuple[str, str]]:
    return {(t.system, t.corruption.name if t.corruption else "") for t in plan.trainings()}


def test_minus_5_db_adds_trainings_at_that_level_and_no_others(planned):
    added = trained(planned("Add −5 dB")) - trained(planned())
    assert {level for _system, level in added} == {"gaussian_-5dB"}


def test_a_learning_rate_of_one_system_changes_no_other(planned):
    plan, before = planned("Another learning rate for one system"), planned()
    assert plan.training_settings(job()) == before.training_settings(job())
    changed = json.loads(plan.training_settings(job(system="nmer_slow")))
    expected = json.loads(before.training_settings(job()))
    assert changed == expected | {"training": expected["training"] | {"learning_rate": 0.0005}}


def test_only_fold_3_is_trained(planned):
    assert {training.fold for training in planned("Only fold 3").trainings()} == {3}


def test_two_conditions_are_scored_and_trainings_stay(planned):
    plan = planned("Only two conditions")
    assert json.loads(plan.evaluation_settings(job()))["conditions"] == ["l", "al"]
    assert plan.training_settings(job()) == planned().training_settings(job())


def test_each_weight_of_the_sweep_is_trained(planned):
    plan = planned("Three values of a weight")
    options = [json.loads(plan.training_settings(job(system=name))).get("options", {}) for name in plan.trained_systems]
    weights = {overrides["divergence_weight"] for overrides in options if "divergence_weight" in overrides}
    assert weights | {1} >= {0.01, 0.1, 1}  # the default weight of NMER needs no option
    assert "sweep" in plan.drawings


def test_the_other_experiment_is_a_table_of_the_report(planned):
    assert set(planned("Two experiments side by side").compared()) == {"demo"}


def test_the_recipe_reads_existing_predictions_and_returns_the_likeliest_class(planned, tmp_path):
    code = block(RECIPES["The prediction for every utterance"], "python")
    path = tmp_path / re.search(r'"(results/.*?)"', code)[1]
    assert path.relative_to(tmp_path) in planned().predictions()
    path.parent.mkdir(parents=True)
    pd.DataFrame({"utterance": ["u", "w"], "prob_no": [0.2, 0.7], "prob_yes": [0.8, 0.3]}).to_csv(path, index=False)
    names: dict[str, pd.DataFrame] = {}
    exec(code, names)
    assert names["predictions"]["prediction"].tolist() == [1, 0]


def test_f1_is_shown_and_nothing_is_trained_or_tested_again(planned):
    plan = planned("F1 in the tables")
    assert plan.display_settings().metrics == ("F1", "UA")
    assert plan.training_settings(job()) == planned().training_settings(job())
    assert plan.evaluation_settings(job()) == planned().evaluation_settings(job())


def test_comparisons_are_with_the_named_system(planned):
    assert planned("Significance against my system").display_settings().reference_system == "men"


def test_trainings_stop_early(planned):
    assert json.loads(planned("Early stopping").training_settings(job()))["training"]["patience"] == 5


def test_two_modalities_have_two_incomplete_conditions(planned):
    about = planned("A corpus with two modalities").display_settings()
    assert about.incomplete(about.dataset("interviews").modalities) == ("a", "l")


def test_scores_are_the_target(planned):
    plan = planned("Sentiment scores instead of classes")
    assert plan.target == "score"
    assert plan.display_settings().metrics == ("MAE", "Corr")


def test_six_classes_are_a_corpus_of_ten_folds(planned):
    plan = planned("IEMOCAP with six classes")
    assert plan.config["experiments"]["mine"]["folds"] == 1
    features = json.loads(plan.features_settings(SimpleNamespace(dataset="iemocap_6")))
    assert len(features["classes"]) == 6


def test_models_are_tested_at_levels_that_were_not_trained(planned):
    plan = planned("Test at levels that were not trained")
    assert {level for _system, level in trained(plan)} == {"", "gaussian_-10dB"}
    tested = {path.name for path in plan.scores() if "nmer" in path.parts}
    assert tested >= {f"gaussian_{level}dB.csv" for level in (0, -5, -10, -20)}


def test_every_recipe_has_a_test():
    source = Path(__file__).read_text()
    assert not [title for title in RECIPES if f'"{title}"' not in source]
