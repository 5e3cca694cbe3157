"""The report states the recorded provenance of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nmer.digests import record_path
from nmer.results.recorded import Recorded


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that writes a file with its provenance record and returns its name."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, step: str, settings: dict, inputs: tuple[str, ...] = (), code: str = "c1") -> str:
        Path(name).touch()
        about = {"step": step, "code": [code], "settings": settings, "outputs": [name]}
        record_path(name).write_text(json.dumps(about | {"inputs": dict.fromkeys(inputs, "d")}))
        return name

    return make


@pytest.fixture
def scores(made) -> str:
    noisy = made("noisy.h5", "corrupt.py", {"dataset": "mosi", "noise": "gaussian", "seed": 7})
    models = [
        made(f"model{fold}", "train.py", {"system": "nmer", "dataset": "mosi", "fold": fold, "repeats": 3}, (noisy,))
        for fold in (1, 2)
    ]
    run = made("run.csv", "evaluate.py", {"system": "nmer", "dataset": "mosi", "folds": [1, 2]}, (noisy, *models))
    return made("scores.csv", "collect_scores.py", {}, (run,))


def test_settings_are_collected_along_the_inputs_and_differing_values_are_a_list(scores):
    recorded = Recorded(scores)
    assert recorded.settings() == {
        "noise": {"mosi": {"noise": "gaussian", "seed": 7}},
        "training": {"nmer": {"dataset": "mosi", "fold": [1, 2], "repeats": 3}},
        "evaluation": {"nmer": {"dataset": "mosi", "folds": [1, 2]}},
    }
    assert recorded.noise_seeds() == [7]
    assert len(recorded.of_step("train.py")) == 2
    assert recorded.warnings() == []


def test_files_without_a_record_and_mixed_code_cause_warnings(scores, made):
    made("model2", "train.py", {"system": "nmer", "dataset": "mosi"}, ("noisy.h5",), code="c2")
    record_path("noisy.h5").unlink()
    missing, mixed = Recorded(scores).warnings()
    assert missing == "1 file behind these scores has no provenance record: noisy.h5."
    assert mixed.startswith("These results were made with several versions of the code (train.py)")


def test_scores_without_any_record_cause_no_warning(tmp_path):
    recorded = Recorded(tmp_path / "scores.csv")
    assert (recorded.records, recorded.settings(), recorded.warnings(), recorded.noise_seeds()) == ({}, {}, [], [])


def test_an_empty_record_has_no_settings_and_causes_no_warning(made):
    name = made("a.csv", "evaluate.py", {"system": "x"})
    record_path(name).write_text("{}")
    recorded = Recorded(name)
    assert (recorded.settings(), recorded.warnings(), recorded.missing) == ({}, [], [])


def test_a_cycle_of_records_terminates(made):
    made("a.csv", "evaluate.py", {"system": "x"}, ("b.csv",))
    made("b.csv", "evaluate.py", {"system": "x"}, ("a.csv",))
    assert len(Recorded("a.csv").records) == 2


@pytest.mark.parametrize("record", ["", "{", "[]", "3", '{"outputs": 3}', '{"inputs": []}'])
def test_a_damaged_record_counts_as_missing(made, record):
    name = made("a.csv", "evaluate.py", {"system": "x"})
    record_path(name).write_text(record)
    assert Recorded(name).missing == [name]
