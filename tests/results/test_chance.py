"""Trainings at chance are detected and marked in tables, figures, sentences and status."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, recall_score
from synthetic_predictions import CONDITIONS, make_predictions, write_run
from synthetic_results import run_step

from nmer.errors import DataError
from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.chance import (
    CELL,
    COLUMNS,
    chance_levels,
    judge,
    judge_runs,
    per_cell,
    read_all_trainings,
    read_trainings,
)
from nmer.results.chance_texts import status_line, warnings
from nmer.results.curves import CHANCE_COLOR
from nmer.results.figures.conditions import condition_scores, draw_conditions
from nmer.results.figures.robustness import draw_robustness, read_intervals, robustness
from nmer.results.figures.training import draw_training, training_curves
from nmer.results.predictions import read_runs
from nmer.results.printed import to_markdown
from nmer.results.printed_comparisons import arrange_comparisons, read_comparisons, summary
from nmer.results.printed_tables import arrange
from nmer.results.report import headlines
from nmer.results.scores import collect
from nmer.results.tables import read_paper, table_2, table_3, table_4, table_5

SHARES = (0.71, 0.29)
"""Classes as imbalanced as the paper's CMU-MOSEI."""


def imbalanced(size: int = 100) -> np.ndarray:
    return (np.arange(size) >= round(SHARES[0] * size)).astype(int)


def always(predictions: pd.DataFrame, number: int, repeats: tuple[int, ...] = (1, 2)) -> pd.DataFrame:
    """Return the predictions with some repeats predicting class ``number`` everywhere."""
    columns = [name for name in predictions if name.startswith("prob_")]
    changed = predictions.copy()
    changed.loc[changed["repeat"].isin(repeats), columns] = np.eye(len(columns))[number]
    return changed


def all_noisy(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return only the predictions with all modalities noisy."""
    return predictions[predictions["condition"] == "none"].reset_index(drop=True)


# The definition


@pytest.mark.parametrize("classes", [2, 4])
def test_wa_and_ua_equal_those_of_scikit_learn(classes):
    random = np.random.default_rng(classes)
    labels, predicted = random.integers(classes, size=200), random.integers(classes, size=200)
    verdict = judge(labels, predicted[None])
    assert verdict.wa == pytest.approx(accuracy_score(labels, predicted))
    assert verdict.ua == pytest.approx(recall_score(labels, predicted, average="macro"))
    assert verdict.majority == pytest.approx(np.bincount(labels).max() / 200)


def test_the_interval_of_two_classes_is_that_of_agresti_and_caffo():
    labels = np.repeat([0, 1], [40, 25])
    predicted = np.concatenate([np.repeat([0, 1], [30, 10]), np.repeat([1, 0], [15, 10])])
    p, q, n, m = 31 / 42, 16 / 27, 42, 27  # one correct and one wrong item added to each class
    low = (p + q) / 2 - 1.959964 * np.sqrt(p * (1 - p) / n + q * (1 - q) / m) / 2
    assert judge(labels, predicted[None]).ua_low == pytest.approx(low)


def test_the_interval_over_several_conditions_is_that_of_the_shares_of_correct_predictions():
    labels, predicted = np.repeat([0, 1, 2], [9, 14, 7]), np.random.default_rng(2).integers(3, size=(4, 30))
    shares = (predicted == labels).mean(axis=0)
    means, variances = [], []
    for number in range(3):
        # 4 / 3 items are added to each class, a third of them correct.
        values, weights = [*shares[labels == number], 1, 0], [*np.ones((labels == number).sum()), 4 / 9, 8 / 9]
        means.append(np.average(values, weights=weights))
        variances.append(np.average((values - means[-1]) ** 2, weights=weights) / sum(weights))
    low = np.mean(means) - 1.959964 * np.sqrt(sum(variances)) / 3
    assert judge(labels, predicted).ua_low == pytest.approx(low)


@pytest.mark.parametrize(("counts", "skew"), [((50, 50), 0.5), ((71, 29), 0.9), ((12, 9, 7, 20), None)])
def test_guesses_are_at_chance_and_skill_is_not(counts, skew):
    """Nearly all of 1,000 guessing trainings (nominal: 97.5 %) and almost none of 1,000 skilled ones are at chance."""
    random = np.random.default_rng(7)
    classes, labels = len(counts), np.repeat(np.arange(len(counts)), counts)
    share = [skew, 1 - skew] if skew else np.full(classes, 1 / classes)
    guesses = [random.choice(classes, size=len(labels), p=share) for _ in range(1000)]
    skilled = [np.where(random.random(len(labels)) < 0.7, labels, guess) for guess in guesses]
    assert np.mean([judge(labels, guess[None]).at_chance for guess in guesses]) >= 0.96
    assert np.mean([judge(labels, predicted[None]).at_chance for predicted in skilled]) <= 0.02


def test_six_predictions_for_one_utterance_are_not_six_observations():
    random = np.random.default_rng(1)
    labels = random.integers(4, size=60)
    predicted = np.where(random.random(60) < 0.2, labels, random.integers(4, size=60))
    once, six_times = judge(labels, predicted[None]), judge(labels, np.tile(predicted, (6, 1)))
    assert six_times == pytest.approx(once)


def test_an_utterance_counts_under_the_conditions_in_which_it_is_tested():
    labels = np.array([0, 1, 0, 1, 0])
    one_each = np.array([[0, 1, -1, -1, -1], [-1, -1, 1, 1, -1]])
    verdict = judge(labels, one_each)
    assert verdict.items == 4, "the fifth is tested under no condition"
    assert (verdict.wa, verdict.ua) == (0.75, 0.75)
    with pytest.raises(ValueError, match="no utterance"):
        judge(labels, np.full((2, 5), -1))


@pytest.mark.parametrize("size", [2, 7, 100, 5000])
@pytest.mark.parametrize("number", [0, 1])
def test_a_constant_prediction_is_at_chance_however_high_its_wa(size, number):
    labels = imbalanced(size)
    verdict = judge(labels, np.full((1, size), number))
    assert verdict.ua == 0.5
    assert verdict.at_chance
    assert verdict.wa_at_majority
    assert verdict.wa == np.mean(labels == number)


def test_a_nearly_constant_prediction_is_at_chance():
    labels = imbalanced(1000)
    predicted = np.zeros((1, 1000), int)
    predicted[0, -10:] = 1  # ten correct predictions of a class of 290; the interval of UA is above 1/2
    verdict = judge(labels, predicted)
    assert verdict.ua_low > 0.5
    assert verdict.at_chance, "one class for 99 % of the items"
    predicted[0, -20:] = 1
    assert not judge(labels, predicted).at_chance


def test_wa_below_the_majority_class_is_not_sufficient_for_chance():
    labels = imbalanced(200)
    predicted = labels.copy()
    predicted[:70] = 1  # finds every item of the small class, and half of the large one
    verdict = judge(labels, predicted[None])
    assert verdict.ua > 0.7
    assert not verdict.at_chance
    assert verdict.wa_at_majority


def test_a_perfect_training_on_very_few_items_is_at_chance():
    assert judge(np.array([0, 1]), np.array([[0, 1]])).at_chance
    assert not judge(np.repeat([0, 1], 20), np.repeat([0, 1], 20)[None]).at_chance


@pytest.mark.parametrize("content", ["empty", "no rows", "a gap", "nan"])
def test_invalid_predictions_are_refused_by_name(tmp_path, content):
    path = write_run(tmp_path, make_predictions(), "nmer")
    file = path.with_name(f"{path.stem}_predictions.csv.gz")
    table = pd.read_csv(file)
    if content == "no rows":
        table = table[:0]
    elif content in ("a gap", "nan"):
        table.loc[3, "prob_class1"] = np.nan
    table.to_csv(file, index=False, na_rep="nan" if content == "nan" else "")
    if content == "empty":
        file.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{file.name}: cannot be read as predictions"):
        judge_runs(read_runs([path]))


# An experiment: at −10 dB one of two NMER trainings is constant; MEN guesses; MCTN has learnt


SETTINGS = ReportSettings.from_mapping(
    {
        "datasets": {
            "corpus": {"paper_name": None, "synthetic": False, "evaluation": "every_condition"},
            "other": {"paper_name": None, "synthetic": False, "evaluation": "one_condition"},
        },
        "systems": ["men", "mctn", "nmer", "unimodal_a", "unimodal_v"],
        "snr_db": {"gaussian": [-10, -40]},
        "reference_noise": "gaussian",
        "unimodal": {"datasets": ["corpus"], "snr_db": [-10], "clean_reference": True},
    }
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Score files of every run of SETTINGS, with predictions next to them."""
    folder = tmp_path_factory.mktemp("chance")
    found = []
    for dataset in SETTINGS.datasets:
        single = dataset == "other"

        def predictions(skill, seed, one_condition=single, size=84 if single else 42):
            return make_predictions(1, utterances=size, skill=skill, seed=seed, one_condition=one_condition)

        for level in (-10, -40):
            mild = level == -10
            six = {"mctn": predictions(0.8, 1), "nmer": predictions(0.9, 2)}
            if mild:
                six["nmer"] = always(six["nmer"], 0, repeats=(2,))
            found += [write_run(folder, six[name], name, "incomplete", snr_db=level, dataset=dataset) for name in six]
            none = {"mctn": all_noisy(predictions(0.8 if mild else 0, 3, False))}
            none["nmer"] = all_noisy(predictions(0.8, 4, False))
            found += [write_run(folder, none[name], name, "all_noisy", snr_db=level, dataset=dataset) for name in none]
            men = predictions(0, 5)
            found.append(write_run(folder, men, "men", "clean", snr_db=level, dataset=dataset))
    for name, skill in (("unimodal_a", 0.9), ("unimodal_v", 0.0)):
        found.append(write_run(folder, all_noisy(make_predictions(1, utterances=42, skill=skill)), name, "all_noisy"))
        clean = all_noisy(make_predictions(1, utterances=42, skill=0.9)).assign(condition="avl")
        found.append(write_run(folder, clean, name, "clean", noise="", snr_db=None))
    return found


@pytest.fixture(scope="module")
def trainings(runs, tmp_path_factory) -> pd.DataFrame:
    """Verdicts on all trainings, as written by the step."""
    path = tmp_path_factory.mktemp("verdicts") / "chance.csv"
    run_step("find_chance.py", "--scores", *runs, "--output", path)
    return read_trainings(path)


def counts(table: pd.DataFrame, **where: object) -> tuple[int, int]:
    """Return the trainings at chance and all trainings of one cell; WA and UA must agree."""
    rows = table
    for column, value in where.items():
        rows = rows[rows[column] == value]
    (pair,) = set(zip(rows["at_chance"], rows["trainings"], strict=True))
    return pair


def test_the_step_writes_the_verdicts_of_the_functions(runs, trainings):
    assert list(trainings) == list(COLUMNS)
    pd.testing.assert_frame_equal(trainings, judge_runs(read_runs(runs)), check_dtype=False, atol=1e-6)
    assert chance_levels(trainings)["corpus", "UA"] == pytest.approx(1 / 3)
    labels = all_noisy(make_predictions(1, 1, utterances=42))["label"]
    assert chance_levels(trainings)["corpus", "WA"] == pytest.approx(labels.value_counts().max() / 42)


def test_each_training_is_judged_individually(trainings):
    cell = {"dataset": "corpus", "system": "nmer", "regime": "incomplete", "snr_db": -10, "condition": "average"}
    found = trainings
    for column, value in cell.items():
        found = found[found[column] == value]
    assert found.set_index("repeat")["at_chance"].to_dict() == {1: 0, 2: 1}
    assert counts(per_cell(trainings), **cell) == (1, 2)


def test_a_training_tested_at_several_levels_is_judged_at_each_and_tables_read_those_at_its_own(tmp_path):
    paths = []
    for trained_at in ("gaussian_-10dB", "gaussian_-40dB"):
        for level, skill in ((-10, 0.9), (-40, 0.0)):
            predictions = make_predictions(1, utterances=42, skill=skill)
            path = write_run(tmp_path / trained_at, predictions, "nmer", "incomplete", snr_db=level)
            pd.read_csv(path).assign(trained_at=trained_at).to_csv(path, index=False)
            paths.append(path)
    run_step("find_chance.py", "--scores", *paths, "--output", tmp_path / "chance.csv")
    every = read_all_trainings(tmp_path / "chance.csv")
    averages = per_cell(every, (*CELL, "trained_at")).query("condition == 'average'")
    found = averages.set_index(["trained_at", "snr_db"])["at_chance"].to_dict()
    assert found == {
        (name, level): 2 * (level == -40) for name in ("gaussian_-10dB", "gaussian_-40dB") for level in (-10, -40)
    }
    shown = read_trainings(tmp_path / "chance.csv")
    assert list(shown) == list(COLUMNS)
    own = every[
        [f"gaussian_{level}dB" == name for level, name in zip(every["snr_db"], every["trained_at"], strict=True)]
    ]
    pd.testing.assert_frame_equal(shown, own.drop(columns="trained_at").reset_index(drop=True))


@pytest.fixture(scope="module")
def scores(runs) -> pd.DataFrame:
    return collect(runs)


@pytest.mark.parametrize("dataset", SETTINGS.datasets)
def test_every_table_counts_the_trainings_of_its_cells(scores, trainings, reference, dataset):
    def table(number, make):
        rows = make(scores, SETTINGS, read_paper(reference, number), trainings)
        return rows[rows["dataset"] == dataset]

    second = table(2, table_2)
    assert counts(second, system="nmer", snr_db=-10) == (1, 2)
    assert counts(second, system="nmer", snr_db=-40) == (0, 2)
    assert counts(second, system="mctn", snr_db=-10) == (0, 2)
    assert counts(second, system="men", snr_db=-40) == (2, 2)
    third = table(3, table_3)
    assert counts(third, condition="a", snr_db=-10)[0] >= 1
    assert counts(third, condition="average", snr_db=-10) == (1, 2)
    fifth = table(5, table_5)
    assert counts(fifth, system="mctn", snr_db=-10) == (0, 2)
    assert counts(fifth, system="mctn", snr_db=-40) == (2, 2), (
        "all noisy at −40 dB: marked even where chance is the correct result"
    )
    assert counts(fifth, system="men", snr_db=-10) == (2, 2), "trained clean: the same training in both tables"
    if dataset == "corpus":
        fourth = table(4, table_4)
        assert counts(fourth, system="unimodal_a", condition="none") == (0, 2)
        assert counts(fourth, system="unimodal_v", condition="none") == (2, 2)
        assert counts(fourth, system="unimodal_v", condition="avl") == (0, 2)


def test_a_table_without_verdicts_has_no_marks(scores, reference):
    table = table_2(scores, SETTINGS, read_paper(reference, 2))
    assert table[["trainings", "at_chance", "wa_at_majority"]].isna().all(axis=None)


@pytest.fixture(scope="module")
def printed(scores, trainings, tmp_path_factory) -> dict[int, dict[str, str]]:
    """Every printed form of Tables 2 to 5, by number and suffix."""
    folder = tmp_path_factory.mktemp("tables")
    scores.to_csv(folder / "scores.csv", index=False)
    trainings.to_csv(folder / "chance.csv", index=False)
    inputs = ("--scores", folder / "scores.csv", "--chance", folder / "chance.csv")
    found = {}
    for number in (2, 3, 4, 5):
        stem = folder / f"table{number}"
        run_step("make_table.py", "--table", number, "--settings", SETTINGS.to_json(), *inputs, "--output-stem", stem)
        found[number] = {end: stem.with_suffix(end).read_text() for end in (".csv", ".md", ".tex", ".html")}
    return found


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_every_printed_form_has_the_mark_and_explains_it(printed, number):
    for form, sign in ((".md", "†"), (".tex", r"$\dagger$"), (".html", "†")):
        text = printed[number][form]
        assert re.search(rf"{re.escape(sign)} [12]/2", text), form
        assert "trainings are at chance" in text, form
    assert "among the cells without †" in printed[number][".md"] or number == 3
    assert '<span class="mark">† ' in printed[number][".html"]


def test_a_marked_cell_is_never_bold_and_the_best_other_cell_is(printed):
    rows = [line for line in printed[2][".md"].splitlines() if line.startswith("| NMER") or line.startswith("| MCTN")]
    nmer, mctn = (next(row for row in rows if row.startswith(f"| {name}")).split(" | ") for name in ("NMER", "MCTN"))
    assert "† 1/2" in nmer[1]
    assert "**" not in nmer[1]
    assert "**" in mctn[1]
    assert "†" not in mctn[1]
    assert "**" in nmer[3], "at −40 dB it has learnt and is the best"
    for number in (2, 3, 4, 5):
        for form, bold in ((".md", r"\*\*[^*|]*\*\* †"), (".html", r'</strong> <span class="mark">')):
            assert not re.search(bold, printed[number][form])


def test_a_constant_prediction_is_not_bold_even_if_it_equals_the_best(tmp_path, reference):
    skilled = make_predictions(folds=1, utterances=70, classes=2, skill=0.9, conditions=CONDITIONS)
    runs = {"men": always(skilled, 0), "mctn": skilled, "nmer": skilled, "majority": skilled}
    paths = [write_run(tmp_path, predictions, name, dataset="corpus") for name, predictions in runs.items()]
    settings = replace(SETTINGS, systems=list(runs), datasets={"corpus": SETTINGS.datasets["corpus"]})
    table = table_2(collect(paths), settings, read_paper(reference, 2), judge_runs(read_runs(paths)))
    # As if one of its trainings were at chance: it has the highest mean, like MCTN, and a mark.
    table.loc[table["system"] == "nmer", "at_chance"] = 1
    text = to_markdown(arrange(2, table, settings))
    bold = {row.split(" | ")[0] for row in text.splitlines() if row.startswith("|") and "**" in row}
    assert bold == {"| MCTN"}
    assert "A constant prediction is never bold." in text


def test_tables_in_which_all_trainings_have_learnt_have_no_mark(tmp_path, reference):
    paths = [write_run(tmp_path, make_predictions(skill=0.9), name, dataset="corpus") for name in ("nmer", "mctn")]
    settings = replace(SETTINGS, systems=["mctn", "nmer"], datasets={"corpus": SETTINGS.datasets["corpus"]})
    found = judge_runs(read_runs(paths))
    table = table_2(collect(paths), settings, read_paper(reference, 2), found)
    assert (table["at_chance"] == 0).all()
    assert warnings(found, settings) == []


def test_a_constant_prediction_is_never_named_the_best(tmp_path):
    """With the class imbalance of CMU-MOSEI its WA can be the highest."""
    skilled = make_predictions(folds=1, utterances=70, classes=2, skill=0.2, conditions=CONDITIONS)
    number = skilled["utterance"].str.extract(r"(\d+)$")[0].astype(int).to_numpy()
    skilled["label"] = (number % 10 >= 7).astype(int)
    truth, is_wrong = np.eye(2)[skilled["label"]], np.isin(number % 20, (0, 1, 2, 3, 4, 17, 18))
    skilled[["prob_class0", "prob_class1"]] = np.where(is_wrong[:, None], 1 - truth, truth)
    paths = [
        write_run(tmp_path, skilled, "mctn", dataset="corpus"),
        write_run(tmp_path, always(skilled, 0), "nmer", dataset="corpus"),
    ]
    settings = replace(SETTINGS, systems=["mctn", "nmer"], snr_db={"gaussian": [-10]})
    scores, found = collect(paths), judge_runs(read_runs(paths))
    mean = scores[scores["metric"] == "WA"].groupby("system")["value"].mean()
    assert mean["nmer"] > mean["mctn"], "the misleading case"
    (sentence,) = headlines(scores, settings, found)
    assert "MCTN with WA" in sentence
    assert "NMER" not in sentence
    assert "(1 with a training at chance not counted)" in sentence
    both = judge_runs(read_runs(paths[1:]))
    (sentence,) = headlines(scores[scores["system"] == "nmer"], settings, both)
    assert "every system has a training at chance, so none is named the best" in sentence


def test_the_reports_warnings_name_system_dataset_noise_and_level(trainings):
    found = warnings(trainings, SETTINGS)
    assert any(
        sentence.startswith("At chance on corpus, Gaussian, −10 dB: ")
        and "average of the incomplete conditions: " in sentence
        and "NMER 1 of 2" in sentence
        and "MEN 2 of 2" in sentence
        and "visual only 2 of 2" in sentence
        for sentence in found
    ), found
    hard = next(sentence for sentence in found if sentence.startswith("At chance on corpus, Gaussian, −40 dB"))
    assert "all modalities noisy: " in hard
    assert "MCTN 2 of 2" in hard
    assert len(found) == 4, "two datasets at two levels"


def test_the_warning_states_that_single_conditions_are_checked_for_nmer_only(tmp_path):
    """Otherwise a reader concludes that no other system is at chance in them."""
    skilled = make_predictions(folds=1, utterances=70, classes=2, skill=0.9, conditions=CONDITIONS)
    weak = pd.concat([skilled[skilled["condition"] != "v"], always(skilled[skilled["condition"] == "v"], 0)])
    paths = [write_run(tmp_path, weak, name, dataset="corpus") for name in ("mctn", "nmer")]
    settings = replace(SETTINGS, systems=["mctn", "nmer"], snr_db={"gaussian": [-10]})
    (sentence,) = warnings(judge_runs(read_runs(paths)), settings)
    count = weak["repeat"].nunique()
    expected = f"At chance on corpus, Gaussian, −10 dB: by condition, checked for NMER only: v {count} of {count}."
    assert sentence == expected


def test_the_status_counts_trainings_at_chance_with_and_without_the_table_of_verdicts(runs, trainings, tmp_path):
    path = tmp_path / "chance.csv"
    line = status_line(runs, path, SETTINGS)
    assert re.fullmatch(r"At chance: \d+ of the \d+ cells evaluated so far \(docs/statistics\.md\)\.", line)
    assert int(line.split()[2]) >= 10
    trainings.to_csv(path, index=False)
    assert status_line(runs, path, SETTINGS) == line
    trainings.assign(at_chance=0).to_csv(path, index=False)
    assert status_line(runs, path, SETTINGS).startswith("At chance: 0 of"), "the table is read, not recomputed"
    assert status_line([tmp_path / "absent.csv"], path, SETTINGS) == ""


@pytest.fixture(scope="module")
def statistics(runs, tmp_path_factory) -> Path:
    """The folder with intervals and comparisons."""
    folder = tmp_path_factory.mktemp("statistics")
    run_step("compare_systems.py", "--settings", SETTINGS.to_json(), "--scores", *runs, "--output", folder)
    return folder


def test_comparisons_with_a_system_at_chance_are_marked_and_not_counted(statistics):
    table = read_comparisons(str(statistics / "comparisons.csv"))
    first = table[(table["dataset"] == "corpus") & (table["condition"] == "average") & (table["metric"] == "WA")]
    found = first.set_index(["snr_db", "system"])[["at_chance", "reference_at_chance"]]
    assert found.loc[(-10, "men")].tolist() == [2, 1]
    assert found.loc[(-40, "mctn")].tolist() == [0, 0]
    grid = arrange_comparisons(table, SETTINGS).grids[0]
    (men,) = [cells for (stub,), cells in grid.rows if stub == "MEN"]
    assert (men[0].mark, men[0].best) == ("† 2/2 † NMER 1/2", False)
    assert "of 4 comparisons" in summary(table, SETTINGS)[0]
    assert "3 are not counted because one of the two is at chance" in summary(table, SETTINGS)[0]


def test_a_claim_based_on_cells_at_chance_is_marked(statistics, trainings, reference, tmp_path):
    trainings.to_csv(tmp_path / "chance.csv", index=False)
    claims = tmp_path / "claims.toml"
    claims.write_text(
        '[[claim]]\nid = "lead"\ntext = "NMER leads."\norigin = "paper"\nrelation = "gap"\ntable = 2\n'
        'noise = "gaussian"\n'
        'dataset = "IEMOCAP"\nsystem = "nmer"\nothers = ["mctn"]\nsnr_db = [-10, -40]\nmetric = "WA"\nmore_than = 0\n'
    )
    settings = replace(SETTINGS, datasets={"corpus": DatasetSettings("IEMOCAP")})
    inputs = ("--settings", settings.to_json(), "--contributions", statistics / "contributions.h5")
    inputs += ("--claims", claims, "--reference", reference)
    for name, chance in (("with", ("--chance", tmp_path / "chance.csv")), ("without", ())):
        run_step("audit_claims.py", *inputs, *chance, "--output-stem", tmp_path / name)
    audited = pd.read_csv(tmp_path / "with.csv")
    assert audited[["scores", "at_chance"]].to_numpy().tolist() == [[4, 1]]
    for form in (".md", ".html"):
        assert "† 1/4" in (tmp_path / "with").with_suffix(form).read_text()
        assert "†" not in (tmp_path / "without").with_suffix(form).read_text()


def test_the_majority_class_is_not_judged(tmp_path):
    run = read_runs([write_run(tmp_path, make_predictions(utterances=20), "majority")])
    assert judge_runs(run).empty


# Figures


def lines_at(axis: object) -> list[float]:
    """Return the heights of the dotted chance lines in a panel."""
    return [float(line.get_ydata()[0]) for line in axis.get_lines() if line.get_color() == CHANCE_COLOR]


def test_curves_of_wa_and_ua_have_a_chance_line(statistics, trainings):
    intervals = read_intervals(statistics / "intervals.csv")
    figure = draw_robustness(robustness(intervals, SETTINGS, trainings), SETTINGS)
    level = chance_levels(trainings)
    assert [lines_at(axis) for axis in figure.axes] == [
        [level[dataset, metric]] for dataset in SETTINGS.datasets for metric in ("WA", "UA")
    ]
    assert lines_at(draw_robustness(robustness(intervals, SETTINGS), SETTINGS).axes[0]) == []


def test_the_training_figure_has_a_chance_line_only_for_the_validation_ua(trainings):
    rows = [("corpus", "nmer", "incomplete", "gaussian", -10, 1, 1, epoch, 0.3, 1.0 / epoch) for epoch in (1, 2)]
    names = ["dataset", "system", "regime", "noise", "snr_db", "fold", "repeat", "epoch", "val_UA", "loss"]
    histories = pd.DataFrame(rows, columns=names).astype({"snr_db": "Int64"})
    above, below = draw_training(training_curves(histories, SETTINGS, "corpus", trainings)).axes
    assert lines_at(above) == [pytest.approx(1 / 3)]
    assert lines_at(below) == []


def test_the_heat_maps_mark_cells_at_chance(scores, trainings):
    cells = condition_scores(scores, SETTINGS, "corpus", trainings)
    figure = draw_conditions(cells)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    marked = cells[(cells["metric"] == "WA") & (cells["at_chance"] > 0)]
    assert sum("†" in text for text in texts) == len(marked) > 0
    assert "†: at chance" in figure.get_supxlabel()
    assert not any(
        "†" in text.get_text()
        for axis in draw_conditions(condition_scores(scores, SETTINGS, "corpus")).axes
        for text in axis.texts
    )
