"""Compare tidy tables with independent pandas code and the paper's numbers."""

from dataclasses import replace

import pandas as pd
import pytest
from published import published
from synthetic_results import make_scores, make_unimodal_scores

from nmer.errors import ConfigError, DataError
from nmer.report_settings import ReportSettings, UnimodalSettings
from nmer.results.tables import SCORE_TABLES, read_paper, table_1, table_2, table_3, table_4, table_5

SYSTEM_OF_LABEL = {
    "MEN": "men",
    "MCTN": "mctn",
    "MMIN": "mmin",
    "IF-MMIN": "if_mmin",
    "NMER": "nmer",
    "w/o VAE": "nmer_no_vae",
    "w/o L_inv": "nmer_no_inv",
}
DATASET_OF_LABEL = {"IEMOCAP": "iemocap", "CMU-MOSEI": "mosei"}


@pytest.fixture
def full_scores(paper_settings):
    return make_scores(paper_settings, folds=1, repeats=2)


@pytest.mark.parametrize(("number", "make", "cells"), [(2, table_2, 224), (3, table_3, 112), (5, table_5, 80)])
def test_every_number_of_the_paper_is_in_its_cell(reference, paper_settings, full_scores, number, make, cells):
    table = make(full_scores, paper_settings, read_paper(reference, number))
    found = table[table["paper"].notna()]
    of_paper = published(reference, number)
    assert len(found) == len(of_paper) == cells
    key = ["dataset", "system", "noise", "snr_db", "condition", "metric"]
    values = found.astype({"snr_db": int}).set_index(key)["paper"]
    for row in of_paper.itertuples():
        place = (DATASET_OF_LABEL[row.dataset], SYSTEM_OF_LABEL[row.system], *row[3:7])
        assert values[place] == row.value
    assert (found["difference"] - (found["mean"] - found["paper"])).abs().max() < 1e-12


def test_the_average_of_table_3_is_the_nmer_row_of_table_2_in_our_results_and_in_the_paper(
    reference, paper_settings, full_scores
):
    second = table_2(full_scores, paper_settings, read_paper(reference, 2))
    third = table_3(full_scores, paper_settings, read_paper(reference, 3))
    nmer = second[(second["system"] == "nmer") & (second["noise"] == "gaussian")].reset_index(drop=True)
    pd.testing.assert_frame_equal(third[third["condition"] == "average"].reset_index(drop=True), nmer)
    assert nmer["paper"].notna().all()


def test_cells_of_table_2_and_5_equal_plain_pandas(reference, small_settings, small_scores):
    six = small_scores[small_scores["condition"].isin(["a", "v", "l", "av", "al", "vl"])]
    none = small_scores[(small_scores["condition"] == "none") & small_scores["regime"].isin(["all_noisy", "clean"])]
    for make, number, rows in ((table_2, 2, six), (table_5, 5, none)):
        # All repeats have equally many folds and conditions, so the plain mean equals the nested mean.
        expected = rows.groupby(["dataset", "system", "noise", "snr_db", "metric", "repeat"])["value"].mean()
        table = make(small_scores, small_settings, read_paper(reference, number))
        assert table["mean"].notna().any()
        for row in table[table["mean"].notna()].itertuples():
            repeats = expected[(row.dataset, row.system, row.noise, row.snr_db, row.metric)]
            assert (row.mean, row.std) == (pytest.approx(repeats.mean()), pytest.approx(repeats.std(ddof=1)))
            assert row.n == len(repeats) == 3


def test_table_5_contains_the_models_trained_all_noisy(reference, small_settings, small_scores):
    table = table_5(small_scores, small_settings, read_paper(reference, 5))
    changed = small_scores.copy()
    changed.loc[changed["regime"] == "incomplete", "value"] = 0.5
    pd.testing.assert_frame_equal(table, table_5(changed, small_settings, read_paper(reference, 5)))


def test_synthetic_data_show_the_papers_value_without_a_difference(reference, small_settings, small_scores):
    table = table_2(small_scores, small_settings, read_paper(reference, 2)).set_index("dataset")
    known = table[table["system"] != "my_system"]
    assert known.loc["iemocap", ["paper", "difference"]].notna().all(axis=None)
    assert known.loc["demo_iemocap", "paper"].notna().all()
    assert known.loc["demo_iemocap", "difference"].isna().all()
    assert table.loc["mosi", ["paper", "difference"]].isna().all(axis=None)


def test_a_custom_system_is_in_the_tables_without_a_paper_value(reference, small_settings, small_scores):
    for make, number in ((table_2, 2), (table_5, 5)):
        table = make(small_scores, small_settings, read_paper(reference, number))
        custom = table[table["system"] == "my_system"]
        assert custom["mean"].notna().all()
        assert custom["paper"].isna().all()
        assert list(dict.fromkeys(table["system"])) == ["men", "nmer", "my_system"]


def test_a_cell_that_was_not_run_is_empty_and_never_zero(reference, small_settings, small_scores):
    not_run = (small_scores["system"] == "nmer") & (small_scores["snr_db"] == -40)
    table = table_2(small_scores[~not_run], small_settings, read_paper(reference, 2))
    missing = table[(table["system"] == "nmer") & (table["snr_db"] == -40)]
    assert set(missing["dataset"]) == {"iemocap", "demo_iemocap"}, "a row without any number is left out"
    assert missing[["mean", "std", "n", "difference"]].isna().all(axis=None)
    assert not (table["mean"] == 0).any()
    row = next(line for line in missing.to_csv(index=False).splitlines() if line.startswith("iemocap"))
    assert ",,,," in row.replace("0.7085", "")


def test_kinds_without_an_snr_have_a_separate_cell(reference, small_settings):
    settings = replace(small_settings, snr_db={"gaussian": [-10], "zero": []})
    scores = make_scores(replace(settings, snr_db={"gaussian": [-10], "zero": [None]}))
    table = table_2(scores, settings, read_paper(reference, 2))
    zero = table[table["noise"] == "zero"]
    assert len(zero) == 3 * 3 * 2
    assert zero["mean"].notna().all()
    assert settings.levels("zero") == [None]


def test_every_number_of_the_papers_table_4_is_in_its_cell(reference, paper_settings):
    unimodal = UnimodalSettings(["iemocap"], [0, -10, -20, -30, -40], clean_reference=False)
    settings = replace(paper_settings, systems=["unimodal_a", "unimodal_v", "unimodal_l"], unimodal=unimodal)
    table = table_4(make_unimodal_scores(settings), settings, read_paper(reference, 4))
    of_paper = published(reference, 4)
    assert len(table) == len(of_paper) == 30
    assert set(table["dataset"]) == {"iemocap"}
    assert set(table["condition"]) == {"none"}
    values = table.set_index(["system", "noise", "snr_db", "metric"])["paper"]
    for row in of_paper.itertuples():
        assert values[(f"unimodal_{row.modality}", row.noise, row.snr_db, row.metric)] == row.value
    assert (table["difference"] - (table["mean"] - table["paper"])).abs().max() < 1e-12


@pytest.mark.parametrize("regime", ["all_noisy", "clean"])
def test_cells_of_table_4_equal_plain_pandas_in_every_regime(reference, unimodal_settings, regime):
    scores = make_unimodal_scores(unimodal_settings, regime)
    table = table_4(scores, unimodal_settings, read_paper(reference, 4))
    assert len(table) == 2 * 3 * 4 * 2, "datasets, modalities, levels with the clean one, metrics"
    for row in table.itertuples():
        selected = (
            (scores["dataset"] == row.dataset) & (scores["system"] == row.system) & (scores["metric"] == row.metric)
        )
        clean = pd.isna(row.snr_db)
        selected &= scores["snr_db"].isna() if clean else (scores["snr_db"] == row.snr_db).fillna(False)
        repeats = scores[selected].groupby("repeat")["value"].mean()
        assert (row.mean, row.std) == (pytest.approx(repeats.mean()), pytest.approx(repeats.std(ddof=1)))
        assert row.n == len(repeats) == 3
        assert (row.noise, row.condition) == (("", "avl") if clean else ("gaussian", "none"))


def test_the_clean_row_of_table_4_comes_first_and_has_no_paper_value(reference, unimodal_settings, unimodal_scores):
    table = table_4(unimodal_scores, unimodal_settings, read_paper(reference, 4))
    for _, rows in table.groupby(["dataset", "system", "metric"]):
        assert rows["condition"].tolist() == ["avl", "none", "none", "none"]
        assert rows["snr_db"].iloc[1:].tolist() == [0, -10, -40]
    clean = table[table["condition"] == "avl"]
    assert clean["mean"].notna().all()
    assert clean[["paper", "difference"]].isna().all(axis=None)
    about = replace(unimodal_settings.unimodal, clean_reference=False)
    without = table_4(unimodal_scores, replace(unimodal_settings, unimodal=about), read_paper(reference, 4))
    pd.testing.assert_frame_equal(without, table[table["condition"] == "none"].reset_index(drop=True))


def test_the_clean_reference_tested_under_noise_is_not_confused_with_a_system_trained_noisy(
    reference, unimodal_settings, unimodal_scores
):
    under_noise = unimodal_scores[unimodal_scores["regime"] == "all_noisy"].assign(regime="clean", value=0.5)
    tables = [
        table_4(scores, unimodal_settings, read_paper(reference, 4))
        for scores in (unimodal_scores, pd.concat([unimodal_scores, under_noise]))
    ]
    pd.testing.assert_frame_equal(*tables)


def test_a_cell_of_table_4_that_was_not_run_is_empty_and_never_zero(reference, unimodal_settings, unimodal_scores):
    not_run = (unimodal_scores["system"] == "unimodal_v") & (unimodal_scores["snr_db"] == 0).fillna(False)
    not_run |= unimodal_scores["dataset"] == "demo_iemocap"
    table = table_4(unimodal_scores[~not_run], unimodal_settings, read_paper(reference, 4))
    missing = table[table["mean"].isna()].set_index(["dataset", "system", "snr_db", "metric"])
    assert len(missing) == 2 + 3 * 3 * 2, (
        "one level of one dataset, and the paper's values of a dataset that was not run"
    )
    assert missing[["std", "n", "difference"]].isna().all(axis=None)
    assert missing.loc[("iemocap", "unimodal_v", 0, "WA"), "paper"] == 0.5723
    assert not (table["mean"] == 0).any()
    assert "mosi" not in set(table["dataset"]), "neither run nor in the paper"


def test_a_single_modality_has_a_table_4(reference, unimodal_settings, unimodal_scores):
    settings = replace(unimodal_settings, systems=["unimodal_v"])
    table = table_4(unimodal_scores, settings, read_paper(reference, 4))
    assert set(table["system"]) == {"unimodal_v"}
    assert len(table) == 2 * 4 * 2


@pytest.mark.parametrize("regime", ["all_noisy", "clean"])
def test_unimodal_and_multimodal_systems_do_not_affect_each_others_tables(
    reference, small_settings, small_scores, unimodal_settings, mixed_settings, regime
):
    unimodal = make_unimodal_scores(unimodal_settings, regime, folds=3)
    # A table that averages these rows would fail, because one fold lacks a repeat.
    damaged = unimodal[(unimodal["fold"] != 3) | (unimodal["repeat"] != 1)]
    for number in (2, 3, 5):
        paper = read_paper(reference, number)
        separate = SCORE_TABLES[number](small_scores, small_settings, paper)
        together = SCORE_TABLES[number](pd.concat([damaged, small_scores]), mixed_settings, paper)
        pd.testing.assert_frame_equal(separate, together)
    paper = read_paper(reference, 4)
    separate = table_4(unimodal, unimodal_settings, paper)
    together = table_4(pd.concat([unimodal, small_scores[small_scores["condition"] != "vl"]]), mixed_settings, paper)
    pd.testing.assert_frame_equal(separate, together)


def test_without_systems_of_its_kind_a_table_has_no_cell(
    reference, small_settings, small_scores, unimodal_settings, unimodal_scores
):
    assert table_4(small_scores, small_settings, read_paper(reference, 4)).empty
    for number in (2, 3, 5):
        assert SCORE_TABLES[number](unimodal_scores, unimodal_settings, read_paper(reference, number)).empty


def test_ablations_are_in_table_2_and_not_in_table_5_unless_they_have_a_cell_there(reference, small_settings):
    settings = replace(small_settings, systems=["men", "nmer", "nmer_no_vae", "nmer_no_inv", "unimodal_of_my_own"])
    scores = make_scores(settings)
    as_trained = scores[~scores["system"].isin(["nmer_no_vae", "nmer_no_inv"]) | (scores["regime"] == "incomplete")]
    listed = [
        list(dict.fromkeys(make(rows, settings, read_paper(reference, number))["system"]))
        for rows, make, number in ((as_trained, table_2, 2), (as_trained, table_5, 5), (scores, table_5, 5))
    ]
    assert listed == [settings.systems, ["men", "nmer", "unimodal_of_my_own"], settings.systems]


def make_report(dataset, classes, folds):
    counts = {name: 10 * (position + 1) for position, name in enumerate(classes)}
    split = {"train": 100, "val": 20, "test": 30}
    return {
        "dataset": dataset,
        "utterances": sum(counts.values()),
        "classes": classes,
        "class_counts": counts,
        "folds": [
            {"fold": k, **{s: {"utterances": n, "class_counts": dict.fromkeys(classes, n)} for s, n in split.items()}}
            for k in range(1, folds + 1)
        ],
    }


def test_table_1_has_the_counts_of_the_paper(reference, paper_settings):
    reports = [
        make_report("iemocap", ["happy", "angry", "sad", "neutral"], folds=10),
        make_report("mosei", ["negative", "positive"], folds=1),
    ]
    table = table_1(reports, paper_settings, read_paper(reference, 1)).set_index(["dataset", "quantity"])
    assert table["paper"].notna().sum() == 10
    assert table.loc[("iemocap", "sad"), "value"] == 30, "all data if folds rotate"
    assert table.loc[("mosei", "positive"), "value"] == 130, "the train and test splits if fixed"
    assert table.loc[("iemocap", "test size"), "value"] == 180, "each test utterance under six conditions"
    assert table.loc[("mosei", "test size"), "value"] == 30, "each test utterance under one"
    assert table.loc[("mosei", "train size"), "difference"] == 100 - 16265


def test_table_1_names_a_missing_report(reference, paper_settings):
    with pytest.raises(DataError, match=r"features/iemocap\.json"):
        table_1([], paper_settings, read_paper(reference, 1))


def test_missing_settings_are_named():
    with pytest.raises(ConfigError, match="missing key 'reference_noise'"):
        ReportSettings.from_mapping({"datasets": {}, "systems": [], "snr_db": {}})
    whole = {"datasets": {}, "systems": [], "snr_db": {}, "reference_noise": "gaussian"}
    with pytest.raises(ConfigError, match="unimodal: missing key 'datasets'"):
        ReportSettings.from_mapping(whole | {"unimodal": {"snr_db": [0]}})
    with pytest.raises(ConfigError, match=r"datasets\.mosi: unknown key 'papername'. Did you mean 'paper_name'"):
        ReportSettings.from_mapping(whole | {"datasets": {"mosi": {"papername": "x"}}})


def test_with_chosen_conditions_averages_are_over_these_and_the_papers_are_not_shown(reference, paper_settings):
    scores = make_scores(paper_settings, folds=1, repeats=2)
    chosen = scores[~scores["condition"].isin(["a", "v", "av", "vl"])]
    table = table_2(chosen, replace(paper_settings, conditions=("l", "al")), read_paper(reference, 2))
    assert table["paper"].isna().all()
    key = ["dataset", "system", "noise", "snr_db", "metric"]
    rows = chosen.query("condition in ['l', 'al'] and regime == 'incomplete' and metric in ['WA', 'UA']")
    expected = rows.groupby(key)["value"].mean()
    found = table[table["system"] != "men"].set_index(key)["mean"]
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), check_names=False, check_index_type=False)
    of_nmer = table_3(chosen, replace(paper_settings, conditions=("l", "al")), read_paper(reference, 3))
    assert set(of_nmer["condition"]) == {"l", "al", "average"}
    assert of_nmer.loc[of_nmer["condition"] != "average", "paper"].notna().all()
