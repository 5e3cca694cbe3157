"""Contributions equal derivatives of scikit-learn's scores; values equal those of the tables."""

from __future__ import annotations

import gzip
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_predictions import make_predictions, sklearn_scores, write_run

from nmer.errors import DataError
from nmer.metrics import CLASS_METRICS
from nmer.names import SIX_CONDITIONS
from nmer.results.contributions import COLUMNS, measure, read_contributions, write_contributions
from nmer.results.design import unit_text
from nmer.results.predictions import FoldPredictions, Run, read_runs
from nmer.results.scores import average, collect

CELL = ["dataset", "system", "regime", "noise", "snr_db", "condition", "metric"]
CONDITIONS = (*SIX_CONDITIONS, "none")


@pytest.mark.parametrize("one_condition", [False, True])
def test_the_values_equal_those_of_the_tables(tmp_path, one_condition):
    folds = 1 if one_condition else 3
    paths = [
        write_run(
            tmp_path,
            make_predictions(folds, utterances=80, seed=s, one_condition=one_condition),
            f"system{s}",
            snr_db=-10 * s,
        )
        for s in (1, 2)
    ]
    cells = measure(read_runs(paths)).cells[list(COLUMNS)]
    printed = average(collect(paths)).astype({"snr_db": "Int64"})
    both = cells.merge(printed, on=CELL, how="outer")
    assert len(both) == len(cells) == 2 * 8 * 4
    np.testing.assert_allclose(both["value"], both["mean"], rtol=0, atol=1e-12)


@st.composite
def corpora(draw: st.DrawFn) -> Run:
    """Draw a run on one fold of a few utterances, each tested under some or all conditions."""
    classes, repeats = draw(st.integers(2, 3)), draw(st.integers(1, 2))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = random.integers(classes, size=draw(st.integers(1, 9)))
    guesses = random.integers(classes, size=(repeats, len(CONDITIONS), len(labels)))
    guesses[:, random.random(guesses.shape[1:]) < draw(st.sampled_from([0.0, 0.5]))] = -1
    utterances = np.array([f"u{number:02d}" for number in range(len(labels))])
    names = tuple(f"class{number}" for number in range(classes))
    fold = FoldPredictions(utterances, labels, guesses)
    return Run(("corpus", "nmer", "incomplete", "gaussian", -10), names, CONDITIONS, {1: fold})


def weighted_scores(labels: np.ndarray, guesses: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Return scikit-learn's scores of the tested utterances by metric, or 0 if there are none."""
    tested = guesses >= 0
    if not tested.any():
        return dict.fromkeys(CLASS_METRICS, 0.0)
    return sklearn_scores(labels[tested], guesses[tested], weights[tested])


@settings(max_examples=15)
@given(corpora())
def test_a_contribution_is_the_derivative_of_a_score_by_the_weight_of_its_utterance(run):
    measured = measure([run])
    fold, dataset = run.folds[1], measured.datasets["corpus"]
    step = 1e-5
    rows = list(measured.cells.itertuples())
    assert {(row.condition, row.metric) for row in rows} == set(product((*CONDITIONS, "average"), CLASS_METRICS))
    for (repeat, predicted), unit in product(enumerate(fold.predicted), range(len(fold.labels))):
        slopes = pd.DataFrame(0.0, CONDITIONS, CLASS_METRICS)
        for change in (step, -step):
            weights = np.ones(len(fold.labels))
            weights[unit] += change
            scores = [weighted_scores(fold.labels, guesses, weights) for guesses in predicted]
            slopes += pd.DataFrame(scores, CONDITIONS) / (2 * change)
        slopes.loc["average"] = slopes.loc[list(SIX_CONDITIONS)].mean()
        for row in rows:
            slope = slopes.loc[row.condition, row.metric]
            assert dataset.contributions[row.position, repeat, unit] == pytest.approx(slope, abs=1e-5)


def test_contributions_sum_to_zero_and_those_of_folds_are_distances_from_the_mean(tmp_path):
    predictions = make_predictions(folds=3, repeats=2, utterances=30)
    path = write_run(tmp_path, predictions, "nmer")
    measured = measure(read_runs([path]))
    dataset = measured.datasets["corpus"]
    np.testing.assert_allclose(dataset.contributions.sum(axis=-1), 0, atol=1e-6)
    (row,) = measured.cells.query("condition == 'a' and metric == 'UA'").itertuples()
    scores = collect([path]).query("condition == 'a' and metric == 'UA' and repeat == 2").sort_values("fold")["value"]
    expected = (scores - scores.mean()).to_numpy() / 3
    np.testing.assert_allclose(dataset.contributions[row.position, 1], expected, atol=1e-6)


def make_run(folds: dict[int, list[str]], system: str = "nmer") -> Run:
    """Return a run with random predictions for these utterances."""
    random = np.random.default_rng(0)
    parts = {
        fold: FoldPredictions(
            np.array(sorted(names)), np.arange(len(names)) % 2, random.integers(2, size=(2, 1, len(names)))
        )
        for fold, names in folds.items()
    }
    return Run(("corpus", system, "all_noisy", "gaussian", -10), ("no", "yes"), ("none",), parts)


TWENTY = [f"u{number:02d}" for number in range(20)]


@pytest.mark.parametrize(
    ("folds", "clusters", "units", "text"),
    [
        ({1: TWENTY}, {}, 20, "20 utterances (speakers or videos are unknown)"),
        ({1: TWENTY}, {name: name[-1] for name in TWENTY}, 10, "10 speakers or videos"),
        ({1: TWENTY}, {name: str(int(name[-1]) % 8) for name in TWENTY}, 8, "8 speakers or videos"),
        (
            {1: TWENTY},
            {name: str(int(name[-1]) % 7) for name in TWENTY},
            20,
            "20 utterances (fewer than 8 speakers or videos: 7)",
        ),
        ({1: TWENTY}, dict.fromkeys(TWENTY[1:], "x"), 20, "20 utterances (speakers or videos are unknown)"),
        ({1: TWENTY[:10], 2: TWENTY[10:]}, {}, 2, "2 folds (speakers or videos are unknown)"),
        (
            {1: TWENTY[:10], 2: TWENTY[10:]},
            {name: name[:2] + str(int(name[-1]) // 2) for name in TWENTY},
            2,
            "2 folds, each with its own speakers or videos",
        ),
        (
            {1: TWENTY[:10], 2: TWENTY[10:]},
            {name: name[-1] for name in TWENTY},
            20,
            "2 folds and 10 speakers or videos (two-way)",
        ),
    ],
)
def test_the_units_are_folds_or_speakers_if_there_are_enough_and_otherwise_utterances(folds, clusters, units, text):
    dataset = measure([make_run(folds)], {"corpus": clusters}).datasets["corpus"]
    assert dataset.contributions.shape[-1] == units
    assert unit_text(dataset.design) == text


def test_a_speaker_contributes_the_sum_of_their_utterances():
    run = make_run({1: TWENTY})
    single = measure([run]).datasets["corpus"].contributions
    together = measure([run], {"corpus": {name: name[-1] for name in TWENTY}}).datasets["corpus"].contributions
    np.testing.assert_allclose(together, single[..., :10] + single[..., 10:], atol=1e-7)


def test_contributions_are_unchanged_by_writing_and_reading(tmp_path):
    predictions = make_predictions()
    paths = [write_run(tmp_path, predictions, "nmer")]
    paths += [write_run(tmp_path, predictions[predictions["repeat"] == 1], "majority")]
    measured = measure(read_runs(paths), deterministic=["majority"])
    measured.cells.loc[0, ["noise", "snr_db"]] = "", pd.NA
    write_contributions(tmp_path / "contributions.h5", measured)
    found = read_contributions(tmp_path / "contributions.h5")
    pd.testing.assert_frame_equal(found.cells, measured.cells, check_dtype=False)
    assert found.cells.groupby("system")["varies"].all().to_dict() == {"majority": False, "nmer": True}
    for name, each in measured.datasets.items():
        np.testing.assert_array_equal(found.datasets[name].scores, each.scores)
        np.testing.assert_array_equal(found.datasets[name].contributions, each.contributions)
        assert unit_text(found.datasets[name].design) == unit_text(each.design)
    (tmp_path / "bad.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"bad\.h5: cannot be read as contributions"):
        read_contributions(tmp_path / "bad.h5")


def test_neither_order_nor_other_runs_change_a_contribution(tmp_path):
    paths = [
        write_run(tmp_path, make_predictions(seed=s), f"system{s}", dataset=d) for s in range(3) for d in ("one", "two")
    ]
    found = []
    for chosen in (paths, paths[::-1], paths[3:4]):
        measured = measure(read_runs(chosen))
        (row,) = measured.cells.query(
            "dataset == 'two' and system == 'system1' and condition == 'vl' and metric == 'UA'"
        ).itertuples()
        found.append(measured.datasets["two"].contributions[row.position])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_systems_tested_on_other_utterances_cannot_be_compared(tmp_path):
    paths = [write_run(tmp_path, make_predictions(utterances=n), f"system{n}") for n in (30, 31)]
    with pytest.raises(DataError, match="system31 incomplete gaussian -10, fold 1: not tested on the utterances of"):
        measure(read_runs(paths))


@pytest.mark.parametrize("damage", ["absent", "no gzip", "cut", "no columns"])
def test_damaged_predictions_are_named(tmp_path, damage):
    path = write_run(tmp_path, make_predictions(utterances=10), "nmer")
    file = path.with_name(f"{path.stem}_predictions.csv.gz")
    content = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        no_columns = gzip.compress(b"utterance,condition\na,b\n")
        file.write_bytes({"no gzip": b"x" * 50, "cut": content[: len(content) // 2], "no columns": no_columns}[damage])
    with pytest.raises(DataError, match=r"_predictions\.csv\.gz: cannot be read as predictions"):
        read_runs([path])
