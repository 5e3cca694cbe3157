"""The bootstrap of any predictions, beside plain loops: replicates are scores, intervals are sorted replicates."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmer.names import SIX_CONDITIONS
from nmer.results.predictions import FoldPredictions, Run
from nmer.results.replicates import COLUMNS, read_replicates, resample, write_replicates
from nmer.results.statistics import comparisons, intervals
from nmer.seeds import generator

CONDITIONS = (*SIX_CONDITIONS, "none")


@st.composite
def corpora(draw: st.DrawFn, systems: tuple[str, ...] = ("nmer",)) -> list[Run]:
    """Runs of some systems on the same folds of a few utterances, each tested under every condition or some."""
    classes, repeats, count = draw(st.integers(2, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = {fold: random.integers(classes, size=draw(st.integers(1, 12))) for fold in range(1, count + 1)}
    untested = draw(st.sampled_from([0.0, 0.5]))
    runs = []
    for system in systems:
        folds = {}
        for fold, truth in labels.items():
            guesses = random.integers(classes, size=(repeats, len(CONDITIONS), len(truth)))
            # An utterance is tested under a condition or not, whatever the repeat.
            guesses[:, random.random(guesses.shape[1:]) < untested] = -1
            folds[fold] = FoldPredictions(np.array([f"u{number:02d}" for number in range(len(truth))]), truth, guesses)
        names = tuple(f"class{number}" for number in range(classes))
        runs.append(Run(("corpus", system, "six", "gaussian", -10), names, CONDITIONS, folds))
    return runs


def naive_score(metric: str, labels: list[int], guesses: list[int]) -> float:
    """Accuracy, or mean recall of the classes that are there, over tested utterances; 0 where there is none."""
    pairs = [(label, guess) for label, guess in zip(labels, guesses, strict=True) if guess >= 0]
    if not pairs:
        return 0.0
    if metric == "WA":
        return sum(label == guess for label, guess in pairs) / len(pairs)
    recalls = []
    for own in {label for label, _guess in pairs}:
        of_class = [guess == own for label, guess in pairs if label == own]
        recalls.append(sum(of_class) / len(of_class))
    return sum(recalls) / len(recalls)


def naive_replicates(run: Run, metric: str, condition: str, count: int) -> list[float]:
    """The score as it is, then every replicate, from utterances written down as often as they were drawn."""
    position, folds = run.conditions.index(condition), sorted(run.folds)
    drawn = generator("bootstrap folds", run.key[0]).integers(len(folds), size=(count, len(folds)))
    utterances, trainings = {}, {}
    for number, fold in enumerate(folds):
        times, size, repeats = (drawn == number).sum(), len(run.folds[fold].labels), len(run.folds[fold].predicted)
        uniform = generator("bootstrap utterances", run.key[0], fold)
        utterances[number] = iter(uniform.multinomial(size, [1 / size] * size, size=times))
        uniform = generator("bootstrap trainings", *run.key, fold)
        trainings[number] = iter(uniform.multinomial(repeats, [1 / repeats] * repeats, size=times))
    plain = [(number, None, None) for number in range(len(folds))]
    found = []
    for row in [plain, *([(n, next(utterances[n]), next(trainings[n])) for n in each] for each in drawn.tolist())]:
        of_folds = []
        for number, often, repeated in row:
            fold = run.folds[folds[number]]
            often = np.ones(len(fold.labels), int) if often is None else often
            repeated = np.ones(len(fold.predicted), int) if repeated is None else repeated
            labels = np.repeat(fold.labels, often).tolist()
            of_trainings = [
                naive_score(metric, labels, np.repeat(predicted[position], often).tolist())
                for predicted in np.repeat(fold.predicted, repeated, axis=0)
            ]
            of_folds.append(sum(of_trainings) / len(of_trainings))
        found.append(sum(of_folds) / len(of_folds))
    return found


@given(corpora(("men", "nmer")), st.sampled_from(["WA", "UA"]), st.sampled_from(CONDITIONS))
def test_any_replicate_is_the_score_of_what_it_drew(runs, metric, condition):
    cells, replicates = resample(runs, 5)
    assert replicates.shape == (len(cells), 5)
    assert ((replicates >= 0) & (replicates <= 1)).all()
    for run in runs:
        where = (cells["system"] == run.key[1]) & (cells["metric"] == metric)
        (row,) = cells.index[where & (cells["condition"] == condition)]
        expected = naive_replicates(run, metric, condition, 5)
        assert cells["value"][row] == pytest.approx(expected[0], abs=1e-6)
        np.testing.assert_allclose(replicates[row], expected[1:], atol=1e-6)
        (average,) = cells.index[where & (cells["condition"] == "avg6")]
        six = cells.index[where & cells["condition"].isin(SIX_CONDITIONS)]
        np.testing.assert_allclose(replicates[average], replicates[six].mean(axis=0), atol=1e-6)
        assert cells["value"][average] == pytest.approx(cells["value"][six].mean())


def naive_percentile(values: list[float], share: float) -> float:
    """Between the two neighbours in sorted order, as far as the share says."""
    ordered, place = sorted(values), share * (len(values) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


REPLICATES = st.lists(st.lists(st.floats(0, 1, width=32), min_size=7, max_size=7), min_size=2, max_size=2)
VALUES = st.tuples(st.floats(0, 1), st.floats(0, 1))


def make_cells(values: tuple[float, float]) -> pd.DataFrame:
    """Cells of two systems."""
    rows = [
        ("corpus", system, "six", "gaussian", -10, "avg6", "WA", value)
        for system, value in zip(("nmer", "men"), values, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"snr_db": "Int64"})


@given(VALUES, REPLICATES)
def test_intervals_are_percentiles_of_any_replicates(values, drawn):
    cells, replicates = make_cells(values), np.array(drawn, np.float32)
    found = intervals(cells, replicates)
    for row, each in enumerate(drawn):
        expected = [naive_percentile(each, share) for share in (0.025, 0.975)]
        np.testing.assert_allclose(found.loc[row, ["low", "high"]].astype(float), expected, atol=1e-6)
    pd.testing.assert_series_equal(found["value"], cells["value"])


def test_a_comparison_is_that_of_the_differences_of_any_replicates():
    # Not one after another by hypothesis: statsmodels collects garbage whenever it adjusts p-values.
    random, levels = np.random.default_rng(0), range(-40, 0)
    values = np.where(random.random((40, 2)) < 0.2, 0.5, random.random((40, 2)))
    drawn = values[:, :, None] + random.normal(0, random.choice([0.0, 0.01, 0.2], (40, 1, 1)), (40, 2, 7))
    rows = pd.concat([make_cells(tuple(pair)).assign(snr_db=level) for pair, level in zip(values, levels, strict=True)])
    cells, replicates = rows.reset_index(drop=True), drawn.reshape(80, 7)
    found = comparisons(cells, replicates, ["nmer", "men"])
    assert found["snr_db"].tolist() == list(levels)
    for row, (ours, other), (first, second) in zip(found.itertuples(), values, drawn, strict=True):
        differences = (first - second).tolist()
        assert row.difference == pytest.approx(ours - other)
        expected = [naive_percentile(differences, share) for share in (0.025, 0.975)]
        assert (row.low, row.high) == pytest.approx(expected, abs=1e-9)
        spread = math.sqrt(sum((each - sum(differences) / 7) ** 2 for each in differences) / 6)
        if spread > 1e-9:
            assert row.p_value == pytest.approx(math.erfc(abs(row.difference) / spread / math.sqrt(2)), abs=1e-9)
        assert 0 <= row.p_value <= row.p_adjusted <= 1
        assert row.effect == pytest.approx(2 * math.asin(math.sqrt(ours)) - 2 * math.asin(math.sqrt(other)))
    # Holm: the smallest p-value counts as often as there are comparisons, the largest once, and the order stays.
    by_size = found.sort_values("p_value")
    steps = np.maximum.accumulate(by_size["p_value"].to_numpy() * np.arange(40, 0, -1))
    np.testing.assert_allclose(by_size["p_adjusted"], np.minimum(steps, 1), rtol=1e-9)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("replicates") / "x.h5"


@settings(max_examples=10)
@given(VALUES, REPLICATES, st.sampled_from(["NA", "a,b", "ü \n", "1"]))
def test_any_replicates_are_read_back(path, values, drawn, system):
    cells, replicates = make_cells(values).replace({"men": system}), np.array(drawn, np.float32)
    write_replicates(path, cells, replicates)
    found = read_replicates(path)
    pd.testing.assert_frame_equal(found[0], cells, check_dtype=False)
    np.testing.assert_array_equal(found[1], replicates)
