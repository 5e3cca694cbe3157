"""The benchmark of selection on the test split compares it with selection on the validation split."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "benchmarks"))
selection: ModuleType = importlib.import_module("selection_on_test")
sys.path.pop(0)


def epoch(val_ua: float, test_ua: float, test_wa: float) -> dict[str, float]:
    return {"val_UA": val_ua, "test_UA": test_ua, "test_WA": test_wa}


def test_each_selection_gives_the_test_scores_of_its_epoch():
    history = [epoch(0.5, 0.7, 0.6), epoch(0.8, 0.6, 0.65), epoch(0.7, 0.72, 0.5)]
    by_validation, by_test = selection.selections(history)
    assert by_validation == {"UA": 0.6, "WA": 0.65}
    assert by_test == {"UA": 0.72, "WA": 0.5}


def test_the_earliest_of_equal_epochs_is_selected():
    history = [epoch(0.5, 0.5, 0.1), epoch(0.8, 0.6, 0.2), epoch(0.8, 0.6, 0.3)]
    assert [found["WA"] for found in selection.selections(history)] == [0.2, 0.2]


def test_selection_on_test_scores_never_lowers_the_selecting_score():
    history = [epoch(0.1 * number % 0.7, 0.3 * number % 0.9, 0.0) for number in range(20)]
    by_validation, by_test = selection.selections(history)
    assert by_test["UA"] >= by_validation["UA"]
    assert by_test["UA"] == pytest.approx(max(row["test_UA"] for row in history))
