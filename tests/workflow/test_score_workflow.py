"""An experiment with a score target, from the corpus to the report, and errors before any job."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from workflow_copy import Workflow

DIMS = {"a": 6, "v": 5, "l": 8}
EXPERIMENT = {
    "datasets": ["opinions"],
    "systems": ["men", "nmer", "unimodal_l", "median", "ridge"],
    "metrics": ["MAE", "Corr", "Acc-2-non0", "Acc-7"],
    "noise": ["gaussian"],
    "snr_db": [0],
    "unimodal": {"snr_db": [0]},
    "repeats": 2,
    "training": {
        "learning_rate": 0.003,
        "batch_size": 16,
        "constant_epochs": 12,
        "decay_epochs": 0,
        "dropout": 0.1,
        "pretraining": {"constant_epochs": 6, "decay_epochs": 0},
    },
    "system_options": {"nmer": {"layers": 1, "feed_forward": 16}},
}


def write_corpus(path: Path) -> None:
    """Write utterances of twelve speakers; in every modality each frame is the score times a vector, plus noise."""
    random = np.random.default_rng(0)
    count = 180
    scores = np.round(random.uniform(-3, 3, count), 1)
    with h5py.File(path, "w") as file:
        file["utterance/id"] = [f"u{row}" for row in range(count)]
        file["utterance/label"] = scores
        file["utterance/speaker"] = [f"s{row % 12}" for row in range(count)]
        file["utterance/split"] = [
            "train" if row % 12 < 8 else "val" if row % 12 < 10 else "test" for row in range(count)
        ]
        for modality, dim in DIMS.items():
            signal = np.outer(scores, random.standard_normal(dim))
            frames = np.repeat(signal, 4, axis=0) + 0.5 * random.standard_normal((4 * count, dim))
            file[f"{modality}/values"] = frames.astype(np.float32)
            file[f"{modality}/offset"] = np.arange(0, 4 * count + 1, 4)


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Workflow:
    copy = Workflow(tmp_path_factory.mktemp("scores") / "nmer")
    (copy.folder / "data").mkdir()
    write_corpus(copy.folder / "data" / "opinions.h5")
    dataset = {"layout": "ragged_hdf5", "path": "opinions.h5", "target": "score", "paper_name": "CMU-MOSEI"}
    (copy.folder / "opinions.yaml").write_text(
        yaml.safe_dump({"datasets": {"opinions": dataset}, "experiments": {"opinions": EXPERIMENT}})
    )
    return copy


def run(workflow: Workflow, *arguments: str, experiment: str = "opinions", **config: str):
    return workflow.snakemake("--configfile", "opinions.yaml", *arguments, experiment=experiment, **config)


@pytest.mark.slow
def test_a_corpus_of_scores_is_learnt_and_reported(workflow):
    finished = run(workflow)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    root = workflow.folder / "results" / "opinions"
    table = pd.read_csv(root / "tables" / "table2.csv")
    mae = table[table["metric"] == "MAE"].set_index("system")
    for system in ("men", "ridge"):
        assert mae.loc[system, "mean"] < 0.8 * mae.loc["median", "mean"]
        assert mae.loc[system, "at_chance"] == 0
    assert table.query("system == 'median' and metric == 'Corr'")["mean"].isna().all()
    drawn = {path.stem for path in (root / "figures").glob("*.png")}
    assert {"robustness", "conditions_opinions", "training_opinions"} <= drawn
    assert not {name for name in drawn if name.startswith(("confusion", "recall"))}
    page = (root / "report.html").read_text()
    assert "mean absolute error" in page
    assert "weighted accuracy" not in page
    history = pd.read_csv(root / "runs/opinions/nmer/incomplete/gaussian_0dB/fold1/history.csv")
    assert history["val_MAE"].min() < mae.loc["median", "mean"]
    again = run(workflow, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_metric_of_classes_is_refused_in_one_line_before_any_job(workflow):
    with workflow.edited("opinions.yaml", "Acc-7", "UA"):
        finished = run(workflow, "--dry-run")
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert output.count("experiments.opinions.metrics: metric 'UA' needs classes") == 1, output
    assert "Traceback" not in output
    assert not (workflow.folder / "results" / "features").exists() or "rule " not in output
