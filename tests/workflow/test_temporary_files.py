"""Deleting large files after use limits disk use and changes no result."""

from __future__ import annotations

import pytest
import yaml
from workflow_copy import Workflow

EXPERIMENT = {
    "experiments": {
        "few": {
            "datasets": ["tiny_iemocap"],
            "systems": ["men", "if_mmin"],
            "noise": ["gaussian"],
            "snr_db": [-10, -40],
            "repeats": 1,
            "folds": 1,
            "tables": [2],
            "training": {
                "constant_epochs": 1,
                "decay_epochs": 1,
                "pretraining": {"constant_epochs": 1, "decay_epochs": 1},
            },
        }
    }
}


@pytest.mark.slow
def test_noisy_embeddings_are_deleted_after_use_and_recreated_when_needed(tmp_path):
    scores = {}
    for name, keep in (("kept", True), ("not kept", False)):
        workflow = Workflow(tmp_path / name)
        (workflow.folder / "few.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"noise": {"keep": keep}}))
        finished = workflow.snakemake("--configfile", "few.yaml", experiment="few")
        assert finished.returncode == 0, finished.stdout + finished.stderr
        scores[name] = (workflow.folder / "results/few/scores.csv").read_bytes()
        caches = {path.stem for path in workflow.folder.glob("results/noisy/tiny_iemocap/*.h5")}
        assert caches == ({"gaussian_-10dB", "gaussian_-40dB"} if keep else set())
    assert scores["kept"] == scores["not kept"]
    again = workflow.snakemake("--configfile", "few.yaml", experiment="few")
    assert "Nothing to be done" in again.stdout + again.stderr
    # A lost file is recreated unchanged, with only the cache that it needs.
    lost = "results/few/scores/tiny_iemocap/if_mmin/incomplete/gaussian_-40dB.csv"
    (workflow.folder / lost).unlink()
    again = workflow.snakemake(lost, "--configfile", "few.yaml", experiment="few")
    assert again.returncode == 0, again.stdout + again.stderr
    done = again.stdout + again.stderr
    assert done.count("rule corrupt:") == 1
    kept = tmp_path / "kept" / lost
    assert (workflow.folder / lost).read_bytes() == kept.read_bytes()
