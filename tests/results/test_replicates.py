"""The hierarchical bootstrap: its values are the tables', its spread is what theory and a naive loop say."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, recall_score
from synthetic_predictions import make_predictions, write_run

from nmer.errors import DataError
from nmer.results.predictions import read_runs
from nmer.results.replicates import COLUMNS, read_replicates, resample, write_replicates
from nmer.results.scores import average, collect
from nmer.seeds import generator

CELL = ["dataset", "system", "regime", "noise", "snr_db", "condition", "metric"]


def cell(cells: pd.DataFrame, **where) -> int:
    """The one row in which these columns have these values."""
    (row,) = cells.query(" and ".join(f"{name} == {value!r}" for name, value in where.items())).index
    return row


@pytest.mark.parametrize("one_condition", [False, True])
def test_the_values_are_those_of_the_tables(tmp_path, one_condition):
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
    cells, replicates = resample(read_runs(paths), 5)
    assert replicates.shape == (len(cells), 5)
    assert list(cells) == list(COLUMNS)
    printed = average(collect(paths)).astype({"snr_db": "Int64"})
    both = cells.merge(printed, on=CELL, how="outer")
    assert len(both) == len(cells) == 2 * 8 * 4
    np.testing.assert_allclose(both["value"], both["mean"], rtol=0, atol=1e-12)


def test_a_replicate_is_what_a_naive_loop_makes_of_the_same_draws(tmp_path):
    predictions = make_predictions(folds=3, repeats=2, utterances=12)
    count = 6
    cells, replicates = resample(read_runs([write_run(tmp_path, predictions, "nmer")]), count)
    folds = 1 + generator("bootstrap folds", "corpus").integers(3, size=(count, 3))
    left = {fold: draws_of(fold, int((folds == fold).sum())) for fold in (1, 2, 3)}
    for b in range(count):
        drawn = [(fold, *left[fold].pop(0)) for fold in folds[b]]
        for condition in ("a", "none"):
            for metric in ("WA", "UA"):
                expected = np.mean(
                    [
                        sum(
                            times / 2 * naive_score(predictions, metric, condition, fold, repeat, utterances)
                            for repeat, times in enumerate(trainings, start=1)
                        )
                        for fold, utterances, trainings in drawn
                    ]
                )
                found = replicates[cell(cells, condition=condition, metric=metric), b]
                assert found == pytest.approx(expected, abs=1e-6)


def draws_of(fold: int, times: int) -> list[tuple]:
    """How often each utterance and each training of a fold is drawn, whenever the fold is."""
    utterances = generator("bootstrap utterances", "corpus", fold).multinomial(12, [1 / 12] * 12, size=times)
    names = ("bootstrap trainings", "corpus", "nmer", "six", "gaussian", -10, fold)
    return list(zip(utterances, generator(*names).multinomial(2, [0.5, 0.5], size=times), strict=True))


def naive_score(predictions, metric, condition, fold, repeat, times) -> float:
    """scikit-learn's score of the utterances of one training and fold, each written down as often as it was drawn."""
    chosen = (predictions["condition"] == condition) & (predictions["fold"] == fold) & (predictions["repeat"] == repeat)
    part = predictions[chosen].sort_values("utterance")
    labels = np.repeat(part["label"].to_numpy(), times)
    guesses = np.repeat(part.filter(like="prob_").to_numpy().argmax(axis=1), times)
    if metric == "WA":
        return accuracy_score(labels, guesses)
    return recall_score(labels, guesses, average="macro", labels=np.unique(labels))


def test_the_spread_of_one_training_on_one_fold_is_that_of_a_proportion(tmp_path):
    predictions = make_predictions(folds=1, repeats=1, utterances=400, skill=0.5)
    cells, replicates = resample(read_runs([write_run(tmp_path, predictions, "nmer")]), 2000)
    row = cell(cells, condition="a", metric="WA")
    share = cells.loc[row, "value"]
    assert replicates[row].mean() == pytest.approx(share, abs=0.003)
    assert replicates[row].std() == pytest.approx(np.sqrt(share * (1 - share) / 400), rel=0.06)


def test_trainings_and_folds_add_to_the_spread(tmp_path):
    certain = make_predictions(folds=1, repeats=1, utterances=200)
    apart = pd.concat(
        [certain, certain.assign(repeat=2, **{f"prob_class{k}": certain["label"] == k for k in range(3)})]
    )
    spread = {}
    for name, predictions in (("one", certain), ("two", apart)):
        cells, replicates = resample(read_runs([write_run(tmp_path / name, predictions, "nmer")]), 1000)
        spread[name] = replicates[cell(cells, condition="a", metric="WA")].std()
    # Two trainings, one always right: which of them are drawn moves the score by half of what lies between them.
    between = (1 - accuracy(certain)) / 2
    assert spread["two"] == pytest.approx(np.hypot(between / np.sqrt(2), spread["one"] / 2), rel=0.15)
    assert spread["two"] > 1.5 * spread["one"]


def accuracy(predictions: pd.DataFrame) -> float:
    here = predictions[predictions["condition"] == "a"]
    return accuracy_score(here["label"], here.filter(like="prob_").to_numpy().argmax(axis=1))


def test_systems_are_paired_by_folds_and_utterances(tmp_path):
    same = make_predictions(folds=3, repeats=1, utterances=30)
    paths = [write_run(tmp_path, same, "nmer"), write_run(tmp_path, same, "other")]
    cells, replicates = resample(read_runs(paths), 50)
    first, second = (cell(cells, system=name, condition="avg6", metric="WA") for name in ("nmer", "other"))
    np.testing.assert_array_equal(replicates[first], replicates[second])
    assert replicates[first].std() > 0


def test_a_training_on_clean_data_is_drawn_alike_at_every_level(tmp_path):
    predictions = make_predictions(folds=2, repeats=3, utterances=30)
    paths = [write_run(tmp_path, predictions, "men", "clean", snr_db=level) for level in (-10, -20)]
    cells, replicates = resample(read_runs(paths), 50)
    rows = [cell(cells, snr_db=level, condition="l", metric="UA") for level in (-10, -20)]
    np.testing.assert_array_equal(replicates[rows[0]], replicates[rows[1]])


def test_neither_order_nor_other_runs_change_a_replicate(tmp_path):
    paths = [
        write_run(tmp_path, make_predictions(seed=s), f"system{s}", dataset=d) for s in range(3) for d in ("one", "two")
    ]
    everything, alone = resample(read_runs(paths), 30), resample(read_runs(paths[3:4]), 30)
    backwards = resample(read_runs(paths[::-1]), 30)
    where = {"dataset": "two", "system": "system1", "condition": "vl", "metric": "UA"}
    drawn = [replicates[cell(cells, **where)] for cells, replicates in (everything, alone, backwards)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_replicates_are_read_as_they_were_written(tmp_path):
    path = write_run(tmp_path, make_predictions(), "nmer")
    cells, replicates = resample(read_runs([path]), 4)
    cells.loc[0, ["noise", "snr_db"]] = "", pd.NA
    write_replicates(tmp_path / "replicates.h5", cells, replicates)
    found = read_replicates(tmp_path / "replicates.h5")
    pd.testing.assert_frame_equal(found[0], cells, check_dtype=False)
    np.testing.assert_array_equal(found[1], replicates)
    (tmp_path / "bad.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"bad\.h5: cannot be read as replicates"):
        read_replicates(tmp_path / "bad.h5")


def test_systems_tested_on_other_utterances_cannot_be_compared(tmp_path):
    paths = [write_run(tmp_path, make_predictions(utterances=n), f"system{n}") for n in (30, 31)]
    with pytest.raises(DataError, match="corpus system31 six gaussian -10, fold 1: not tested on the utterances of"):
        resample(read_runs(paths), 2)


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
