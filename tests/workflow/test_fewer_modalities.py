"""Corpora with fewer than three modalities, from the configuration to tables, figures and report (SPEC 13)."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from workflow_copy import Workflow

SHORT = {"constant_epochs": 1, "decay_epochs": 1}
RUN = {
    "noise": ["gaussian"],
    "snr_db": [-10],
    "repeats": 2,
    "folds": 1,
    "unimodal": {"snr_db": [-10], "clean_reference": True},
    "training": SHORT | {"pretraining": SHORT},
    "system_options": {"nmer": {"layers": 1, "feed_forward": 16}},
}
MULTIMODAL = ["men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv"]
CONFIGURATION = {
    "datasets": {
        "audio_and_text": {
            "layout": "iemocap_mmin",
            "modalities": ["l", "a"],
            "generate": {"utterances": 120, "dims": {"a": 8, "l": 10}, "frames": {"a": 6, "l": 6}},
        },
        "audio_and_video": {
            "layout": "mosei_pickle",
            "modalities": ["a", "v"],
            "generate": {"utterances": 400, "dims": {"a": 8, "v": 6}, "frames": 6},
            "evaluation": "one_condition",
        },
        "text": {
            "layout": "mosei_pickle",
            "modalities": ["l"],
            "generate": {"utterances": 400, "dims": {"l": 10}, "frames": 6},
            "evaluation": "one_condition",
        },
    },
    "experiments": {
        "two": RUN
        | {"datasets": ["audio_and_text"], "systems": [*MULTIMODAL, "logistic_regression", "unimodal_a", "unimodal_l"]},
        "mixed": RUN
        | {
            "datasets": ["audio_and_video", "tiny_iemocap"],
            "systems": ["men", "nmer", "unimodal_a"],
            "figures": ["robustness", "conditions"],
        },
        "one": RUN | {"datasets": ["text"], "systems": ["men", "logistic_regression", "unimodal_l"]},
    },
}


def run(folder, experiment: str, *arguments: str) -> Workflow:
    workflow = Workflow(folder / "nmer")
    (workflow.folder / "sets.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    finished = workflow.snakemake("--configfile", "sets.yaml", *arguments, experiment=experiment)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


@pytest.mark.parametrize(
    "experiment",
    ["mixed", *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.ci]) for name in ("two", "one"))],
)
def test_a_dry_run_plans_every_set_of_modalities(tmp_path, experiment):
    run(tmp_path, experiment, "--dry-run")


def scores_of(workflow: Workflow, experiment: str) -> pd.DataFrame:
    return pd.read_csv(workflow.folder / "results" / experiment / "scores.csv", keep_default_na=False)


@pytest.mark.slow
def test_every_system_is_trained_and_reported_on_two_modalities(tmp_path):
    workflow = run(tmp_path, "two")
    root = workflow.folder / "results" / "two"
    scores = scores_of(workflow, "two")
    noisy = scores[scores["noise"] == "gaussian"]
    assert set(noisy.loc[noisy["system"].isin(MULTIMODAL), "condition"]) == {"a", "l", "none", "al"}
    assert set(scores.loc[scores["noise"] == "", "condition"]) == {"al"}
    assert set(scores["system"]) == {*MULTIMODAL, "logistic_regression", "unimodal_a", "unimodal_l"}

    table = pd.read_csv(root / "tables" / "table2.csv")
    assert set(table["system"]) == {*MULTIMODAL, "logistic_regression"}
    six = scores[(scores["system"] == "nmer") & (scores["regime"] == "incomplete") & (scores["metric"] == "UA")]
    expected = six[six["condition"].isin(["a", "l"])]["value"].mean()
    assert table.query("system == 'nmer' and metric == 'UA'")["mean"].item() == pytest.approx(expected, abs=1e-6)
    table_3 = pd.read_csv(root / "tables" / "table3.csv")
    assert set(table_3["condition"]) == {"a", "l", "average"}
    assert "| SNR | Metric | a | l | Avg. |" in (root / "tables" / "table3.md").read_text()
    clean = pd.read_csv(root / "tables" / "table4.csv", keep_default_na=False).query("noise == ''")
    assert set(clean["condition"]) == {"al"}
    assert set(clean["system"]) == {"unimodal_a", "unimodal_l"}
    assert pd.read_csv(root / "tables" / "table1.csv").query("quantity == 'test size'")["value"].item() == 2 * len(
        pd.read_csv(root / "scores/audio_and_text/men/clean/gaussian_-10dB_predictions.csv.gz").query(
            "condition == 'a' and repeat == 1"
        )
    )

    calibration = pd.read_csv(workflow.folder / "results" / "calibration" / "audio_and_text.csv")
    assert set(calibration["modality"]) == {"a", "l"}
    report = json.loads((workflow.folder / "results" / "features" / "audio_and_text.json").read_text())
    assert report["dims"] == {"a": 8, "l": 10}
    heat_map = pd.read_csv(root / "figures" / "conditions_audio_and_text.csv")
    assert set(heat_map["condition"]) == {"a", "l", "average", "none"}
    assert set(pd.read_csv(root / "figures" / "figure3_audio_and_text.csv")["modality"]) == {"a", "l", "mean"}
    assert "incomplete conditions" in (root / "report.html").read_text()


@pytest.mark.slow
def test_corpora_with_other_modalities_share_an_experiment(tmp_path):
    workflow = run(tmp_path, "mixed")
    scores = scores_of(workflow, "mixed")
    by_dataset = scores[scores["system"] == "nmer"].groupby("dataset")["condition"].agg(set)
    assert by_dataset["audio_and_video"] == {"a", "v", "none", "av"}
    assert by_dataset["tiny_iemocap"] == {"a", "v", "l", "av", "al", "vl", "none", "avl"}
    folder = workflow.folder / "results" / "mixed" / "tables"
    table = pd.read_csv(folder / "table3.csv").groupby("dataset")["condition"].agg(set)
    assert table["audio_and_video"] == {"a", "v", "average"}
    assert table["tiny_iemocap"] == {"a", "v", "l", "av", "al", "vl", "average"}


@pytest.mark.slow
def test_one_modality_runs_the_systems_that_read_it(tmp_path):
    workflow = run(tmp_path, "one")
    root = workflow.folder / "results" / "one"
    assert set(scores_of(workflow, "one")["condition"]) == {"none", "l"}
    table = pd.read_csv(root / "tables" / "table4.csv", keep_default_na=False)
    assert set(zip(table["system"], table["condition"], strict=True)) == {("unimodal_l", "none"), ("unimodal_l", "l")}
    assert set(pd.read_csv(root / "tables" / "table5.csv")["system"]) == {"men", "logistic_regression"}
    assert (root / "report.html").exists()
