"""Confusion matrices and recall are shares of the true class, with equal weight for every condition."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import assert_inside, assert_same_files, cells, lines
from sklearn.metrics import confusion_matrix
from synthetic_results import CONDITIONS, draw_figure

from nmer.errors import ConfigError
from nmer.report_settings import ReportSettings
from nmer.results.confusion import confusion_matrices, recall
from nmer.results.figures.confusion import draw_confusion
from nmer.results.figures.recall import draw_recall
from nmer.results.labels import SYSTEM_LABELS
from nmer.results.style import system_styles

CLASSES = ["happy", "angry", "sad"]
LEVELS = [("gaussian", -10), ("gaussian", -20), ("gaussian", -40), ("impulse", -10)]
SETTINGS = ReportSettings.from_mapping(
    {
        "datasets": {
            "mosi": {"paper_name": None, "synthetic": False},
            "mosei": {"paper_name": None, "synthetic": False},
        },
        "systems": ["my_system", "nmer", "men"],
        "snr_db": {"gaussian": [-10, -40, -20], "impulse": [-10]},
        "reference_noise": "gaussian",
    }
)


def draw_labels(generator, classes, condition):
    """Return true and predicted classes of utterances; one condition has different class proportions."""
    weights = generator.dirichlet(np.ones(len(classes))) if condition != "a" else np.ones(len(classes)) / len(classes)
    true = np.concatenate([np.arange(len(classes)), generator.choice(len(classes), 60, p=weights)])
    taken = np.where(generator.random(len(true)) < 0.6, true, generator.integers(len(classes), size=len(true)))
    return true, taken


def make_counts(
    systems=("men", "nmer", "my_system"), levels=LEVELS, classes=CLASSES, datasets=tuple(SETTINGS.datasets)
):
    """Return counts as the workflow writes them, and scikit-learn's matrices averaged over the six conditions."""
    generator, rows, expected = np.random.default_rng(0), [], {}
    for dataset, system, (noise, snr_db) in itertools.product(datasets, systems, levels):
        for regime in ("clean",) if system == "men" else ("incomplete", "all_noisy"):
            matrices = []
            for condition in (*CONDITIONS, "none", "avl"):
                true, taken = draw_labels(generator, classes, condition)
                run = (dataset, system, regime, noise, snr_db, condition)
                counts = confusion_matrix(true, taken, labels=range(len(classes)))
                for label, predicted in itertools.product(range(len(classes)), repeat=2):
                    rows.append((*run, classes[label], classes[predicted], counts[label, predicted]))
                if condition in CONDITIONS:
                    matrices.append(confusion_matrix(true, taken, labels=range(len(classes)), normalize="true"))
            if regime != "all_noisy":
                expected[dataset, system, noise, snr_db] = np.mean(matrices, axis=0)
    columns = ["dataset", "system", "regime", "noise", "snr_db", "condition", "label", "predicted", "count"]
    return pd.DataFrame(rows, columns=columns).astype({"snr_db": "Int64"}), expected


@pytest.fixture(scope="module")
def made():
    return make_counts()


def test_shares_equal_those_of_scikit_learn_averaged_over_the_six_conditions(made):
    counts, expected = made
    shares = confusion_matrices(counts, SETTINGS, "mosei")
    places = list(dict.fromkeys(zip(shares["snr_db"], shares["system"], strict=True)))
    assert places == [(-10, "men"), (-10, "nmer"), (-10, "my_system"), (-40, "men"), (-40, "nmer"), (-40, "my_system")]
    for (snr_db, system), part in shares.groupby(["snr_db", "system"]):
        matrix = part.pivot(index="label", columns="predicted", values="share").loc[CLASSES, CLASSES]
        assert matrix.to_numpy() == pytest.approx(expected["mosei", system, "gaussian", snr_db])


def test_pairs_without_a_prediction_may_be_left_out(made):
    counts, _ = made
    assert (counts["count"] == 0).any()
    matrices = [confusion_matrices(table, SETTINGS, "mosi") for table in (counts, counts[counts["count"] > 0])]
    pd.testing.assert_frame_equal(*matrices)


def test_a_class_without_an_utterance_under_one_condition_counts_under_the_others():
    rows = [("a", "happy", "happy", 3), ("a", "happy", "sad", 1), ("v", "sad", "sad", 1), ("v", "happy", "happy", 0)]
    counts = pd.DataFrame(rows, columns=["condition", "label", "predicted", "count"])
    counts = counts.assign(dataset="mosi", system="nmer", regime="incomplete", noise="gaussian", snr_db=-10)
    found = confusion_matrices(counts, SETTINGS, "mosi").set_index(["label", "predicted"])["share"].to_dict()
    assert found == {("happy", "happy"): 0.75, ("happy", "sad"): 0.25, ("sad", "happy"): 0.0, ("sad", "sad"): 1.0}


def test_recall_is_the_diagonal_at_every_level_of_every_kind(made):
    counts, expected = made
    curves = recall(counts, SETTINGS, "mosi")
    found = {tuple(row[:4]): row[4] for row in curves[["system", "noise", "snr_db", "label", "recall"]].values}
    diagonals = {
        (system, noise, snr_db, label): matrix[place, place]
        for (dataset, system, noise, snr_db), matrix in expected.items()
        for place, label in enumerate(CLASSES)
        if dataset == "mosi"
    }
    assert found == pytest.approx(diagonals)
    nmer = curves[(curves["system"] == "nmer") & (curves["noise"] == "gaussian") & (curves["label"] == "sad")]
    assert nmer["snr_db"].tolist() == [-10, -20, -40]


def test_a_matrix_prints_percentages_that_are_legible_on_their_shade(made):
    counts, expected = made
    figure = draw_confusion(confusion_matrices(counts, SETTINGS, "mosi"))
    assert [axis.get_title() for axis in figure.axes] == ["MEN", "NMER", "my_system"] * 2
    printed = cells(figure.axes[4])
    matrix = expected["mosi", "nmer", "gaussian", -40]
    assert {place: text for place, (text, _) in printed.items()} == {
        (row, column): f"{100 * matrix[row, column]:.0f}" for row in range(3) for column in range(3)
    }
    assert min(ratio for axis in figure.axes for _, ratio in cells(axis).values()) >= 4.5


def test_each_class_has_a_panel_and_each_system_a_colour(made):
    figure = draw_recall(recall(made[0], SETTINGS, "mosi"))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        f"{label}, {noise}" for noise in ("Gaussian", "Impulse") for label in CLASSES
    ]
    styles = system_styles(["men", "nmer", "my_system"])
    for axis in figure.axes:
        drawn = lines(axis)
        colors = [drawn[label].get_color() for label in ("MEN", "NMER", "my_system")]
        assert colors == [style.color for style in styles.values()]


EVERY_SYSTEM = [*SYSTEM_LABELS, "a_rather_long_name_of_a_system_of_my_own"]
TWO_CLASSES, FIVE_CLASSES = ["negative", "positive"], ["anger", "disgust", "fear", "joy", "neutral"]
ONE_LEVEL, TWO_LEVELS = [("gaussian", -10)], [("gaussian", -10), ("gaussian", -40)]


# The smallest and the largest figure, and two in between.
@pytest.mark.parametrize(
    ("systems", "classes", "levels"),
    [
        (["nmer"], TWO_CLASSES, ONE_LEVEL),
        (["nmer"], FIVE_CLASSES, TWO_LEVELS),
        (EVERY_SYSTEM, TWO_CLASSES, ONE_LEVEL),
        (EVERY_SYSTEM, FIVE_CLASSES, TWO_LEVELS),
    ],
)
def test_any_experiment_fits_on_the_page(systems, classes, levels):
    settings = replace(SETTINGS, systems=systems, snr_db={"gaussian": [snr_db for _, snr_db in levels]})
    counts, _ = make_counts(systems, levels, classes, ["mosi"])
    matrices, curves = (
        draw_confusion(confusion_matrices(counts, settings, "mosi")),
        draw_recall(recall(counts, settings, "mosi")),
    )
    assert_inside(matrices)
    assert_inside(curves)
    assert sum(bool(axis.images) for axis in matrices.axes) == len(systems) * len(levels)
    assert sum(bool(lines(axis)) for axis in curves.axes) == len(classes)


def test_a_kind_without_an_snr_has_matrices_and_no_curve():
    settings = replace(SETTINGS, snr_db={"zero": []}, reference_noise="zero")
    counts, _ = make_counts(levels=[("zero", None)])
    assert len(draw_confusion(confusion_matrices(counts, settings, "mosi")).axes) == 3
    curves = recall(counts, settings, "mosi")
    assert curves.empty
    assert [text.get_text() for text in draw_recall(curves).texts] == [
        "This experiment has no predictions at an SNR or a rate."
    ]


def test_without_a_multimodal_system_a_sentence_is_drawn(made):
    shares = confusion_matrices(made[0], replace(SETTINGS, systems=["unimodal_a"]), "mosi")
    assert shares.empty
    assert [text.get_text() for text in draw_confusion(shares).texts] == [
        "This experiment has no predictions of multimodal systems."
    ]


def test_an_unknown_dataset_is_an_error(made):
    for make in (confusion_matrices, recall):
        with pytest.raises(ConfigError, match="'mosy' is not one of mosi, mosei"):
            make(made[0], SETTINGS, "mosy")


@pytest.mark.parametrize("figure", ["confusion", "recall"])
def test_the_steps_write_the_same_three_files_the_second_time(tmp_path, figure):
    counts, _ = make_counts(["nmer", "men"], TWO_LEVELS)
    counts.to_csv(tmp_path / "counts.csv", index=False)
    settings = replace(SETTINGS, systems=["nmer", "men"], snr_db={"gaussian": [-10, -40]})
    for name in ("one", "two"):
        draw_figure(figure, tmp_path / name, "mosi", settings, confusion=tmp_path / "counts.csv")
    assert_same_files(tmp_path / "one", tmp_path / "two")
    make = confusion_matrices if figure == "confusion" else recall
    written = pd.read_csv(tmp_path / "one.csv").astype({"snr_db": "Int64"})
    pd.testing.assert_frame_equal(written, make(counts, settings, "mosi"), check_dtype=False, atol=1e-6)


def test_matrices_and_recall_do_not_depend_on_settings_their_figures_do_not_read():
    counts, _ = make_counts()
    others = replace(SETTINGS, metrics=("F1",), conditions=("l",), reference="men")
    for compute in (confusion_matrices, recall):
        pd.testing.assert_frame_equal(compute(counts, others, "mosi"), compute(counts, SETTINGS, "mosi"))


def test_recall_at_rates_is_shown_against_the_rate_of_its_kind():
    counts, _ = make_counts(levels=[("drop_frames_0.5", None), ("drop_frames_0", None), ("zero", None)])
    rates = {"drop_frames": {"drop_frames_0": 0.0, "drop_frames_0.5": 0.5}}
    settings = replace(SETTINGS, snr_db={"drop_frames_0.5": [], "drop_frames_0": [], "zero": []}, rates=rates)
    curves = recall(counts, settings, "mosi")
    assert set(zip(curves["noise"], curves["rate"], strict=True)) == {("drop_frames", 0), ("drop_frames", 0.5)}
    first = draw_recall(curves).axes[0]
    assert first.get_xlabel() == "rate"
    assert [text.get_text() for text in first.get_xticklabels()] == ["0", "0.5"]
