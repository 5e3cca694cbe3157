"""Scores are collected and averaged without loss or weighting."""

from dataclasses import replace

import pandas as pd
import pytest
from synthetic_results import make_scores

from nmer.errors import DataError
from nmer.results.scores import average, collect, of_regime, read_scores


@pytest.fixture
def files(small_scores, tmp_path):
    paths = []
    for number, (_, part) in enumerate(small_scores.groupby(["dataset", "system", "regime", "noise", "snr_db"])):
        paths.append(tmp_path / f"{number}.csv")
        part.to_csv(paths[-1], index=False)
    return paths


def test_collected_scores_do_not_depend_on_the_order_of_the_files(files, small_scores):
    collected = collect(files)
    pd.testing.assert_frame_equal(collected, collect(reversed(files)))
    assert len(collected) == len(small_scores)
    assert collected["value"].sum() == pytest.approx(small_scores["value"].sum())


def test_contradictory_files_are_refused_and_equal_ones_counted_once(files, tmp_path):
    assert len(collect([files[0], files[0]])) == len(read_scores(files[0]))
    changed = pd.read_csv(files[0])
    changed.loc[0, "value"] /= 2
    changed.to_csv(tmp_path / "changed.csv", index=False)
    with pytest.raises(DataError, match="contradict"):
        collect([files[0], tmp_path / "changed.csv"])


@pytest.mark.parametrize(("content", "message"), [("dataset\nx\n", "column"), (None, "cannot be read")])
def test_a_damaged_file_is_named_in_the_message(tmp_path, content, message):
    path = tmp_path / "scores.csv"
    if content:
        path.write_text(content)
    with pytest.raises(DataError, match=f"scores.csv.*{message}"):
        read_scores(path)


def test_a_percentage_is_not_read_as_a_fraction(files):
    percent = pd.read_csv(files[0])
    percent.assign(value=percent["value"] * 100).to_csv(files[0], index=False)
    with pytest.raises(DataError, match="fractions"):
        read_scores(files[0])


def test_kinds_without_an_snr_survive_reading_and_averaging(tmp_path, small_settings):
    scores = make_scores(replace(small_settings, snr_db={"zero": [None]}))
    scores.to_csv(tmp_path / "zero.csv", index=False)
    cells = average(read_scores(tmp_path / "zero.csv"))
    assert cells["snr_db"].isna().all()
    assert len(cells[cells["condition"] == "average"]) == 3 * 3 * 3


def test_averages_do_not_weight_conditions_or_folds_by_size(small_scores):
    cells = average(small_scores)
    key = ("mosi", "nmer", "incomplete", "gaussian", -10)
    run = small_scores.set_index(["dataset", "system", "regime", "noise", "snr_db"]).sort_index().loc[key]
    six = run[(run["metric"] == "UA") & run["condition"].isin(["a", "v", "l", "av", "al", "vl"])]
    by_repeat = [
        sum(six[(six["repeat"] == repeat) & (six["fold"] == fold)]["value"].sum() / 6 for fold in (1, 2)) / 2
        for repeat in (1, 2, 3)
    ]
    cell = cells[(cells["condition"] == "average") & (cells["metric"] == "UA")]
    cell = cell.set_index(["dataset", "system", "regime", "noise", "snr_db"]).loc[key]
    mean = sum(by_repeat) / 3
    assert cell["mean"] == pytest.approx(mean)
    assert cell["std"] == pytest.approx((sum((value - mean) ** 2 for value in by_repeat) / 2) ** 0.5)
    assert cell["n"] == 3


def test_one_repeat_has_no_standard_deviation(small_settings):
    assert average(make_scores(small_settings, repeats=1))["std"].isna().all()


def test_an_incomplete_set_of_conditions_or_folds_is_an_error(small_scores):
    one_condition_less = small_scores[(small_scores["condition"] != "vl") | (small_scores["fold"] != 1)]
    with pytest.raises(DataError, match="each incomplete condition"):
        average(one_condition_less)
    one_fold_less = small_scores[(small_scores["fold"] != 2) | (small_scores["repeat"] != 1)]
    with pytest.raises(DataError, match="lack folds"):
        average(one_fold_less)


def test_only_a_system_trained_only_on_clean_data_counts_in_every_regime(small_scores):
    for regime in ("incomplete", "all_noisy"):
        found = of_regime(small_scores, regime).groupby("system")["regime"].unique()
        assert {system: list(regimes) for system, regimes in found.items()} == {
            "men": ["clean"],
            "nmer": [regime],
            "my_system": [regime],
        }
