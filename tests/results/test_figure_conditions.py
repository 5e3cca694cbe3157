"""Heat maps of conditions show the cells of the tables and are legible for any experiment."""

import statistics
from dataclasses import replace

import pandas as pd
import pytest
from drawn import assert_inside, assert_labels_apart, assert_same_files, cells
from synthetic_results import CONDITIONS, draw_figure, make_scores

from nmer.errors import ConfigError
from nmer.results.figures.conditions import condition_scores, draw_conditions
from nmer.results.labels import SYSTEM_LABELS


def plain_means(scores) -> dict[tuple, float]:
    """Return the mean over folds, then repeats, of every run and condition of a dataset, computed in plain loops."""
    repeats: dict[tuple, dict[int, list]] = {}
    for row in scores[scores["dataset"] == "mosi"].itertuples():
        level = None if pd.isna(row.snr_db) else row.snr_db
        place = (row.system, row.regime, row.noise, level, row.condition, row.metric)
        repeats.setdefault(place, {}).setdefault(row.repeat, []).append(row.value)
    return {
        place: statistics.mean(statistics.mean(values) for values in found.values()) for place, found in repeats.items()
    }


def test_every_cell_is_the_plain_mean_of_the_runs_in_the_tables(small_settings, small_scores):
    table = condition_scores(small_scores, small_settings, "mosi")
    key = ["system", "noise", "snr_db", "condition", "metric"]
    values = table.set_index(key)["mean"]
    assert len(values) == 3 * (3 * 7 + 2) * 2, "systems; six and average at three levels, all noisy at two; metrics"
    means, expected = plain_means(small_scores), {}
    for system, trained in (
        ("nmer", ("incomplete", "all_noisy")),
        ("my_system", ("incomplete", "all_noisy")),
        ("men", ("clean", "clean")),
    ):
        for noise, snr_db in (("gaussian", -10), ("gaussian", -40), ("impulse", -10)):
            for metric in ("WA", "UA"):
                place = (system, noise, snr_db)
                six = [means[system, trained[0], noise, snr_db, c, metric] for c in CONDITIONS]
                expected |= {(*place, c, metric): v for c, v in zip(CONDITIONS, six, strict=True)}
                expected[*place, "average", metric] = statistics.mean(six)
                if noise == "gaussian":
                    expected[*place, "none", metric] = means[system, trained[1], noise, snr_db, "none", metric]
    assert values.to_dict() == pytest.approx(expected)
    assert list(dict.fromkeys(table["system"])) == ["men", "nmer", "my_system"]


def test_long_names_of_systems_do_not_overlap(small_settings):
    long = ["nmer_divergence_weight_0.1", "nmer_divergence_weight_1", "another_long_name_of_a_system", "men"]
    settings = replace(small_settings, systems=long)
    figure = draw_conditions(condition_scores(make_scores(settings), settings, "mosi"))
    assert_labels_apart(figure.axes[0])


def test_a_cell_prints_wa_above_ua_and_is_legible_on_its_shade(small_settings, small_scores):
    table = condition_scores(small_scores, small_settings, "mosi")
    figure = draw_conditions(table)
    panels = {axis.get_title(loc="left"): cells(axis) for axis in figure.axes if axis.images}
    assert list(panels) == ["Gaussian, −10 dB", "Gaussian, −40 dB", "Impulse, −10 dB"]
    row = table[(table["system"] == "nmer") & (table["snr_db"] == -40) & (table["condition"] == "average")]
    wa, ua = (row.loc[row["metric"] == metric, "mean"].item() for metric in ("WA", "UA"))
    assert panels["Gaussian, −40 dB"][1, 6][0] == f"{wa:.3f}\n{ua:.3f}"
    assert [text for (_, column), (text, _) in panels["Impulse, −10 dB"].items() if column == 7] == ["–"] * 3
    assert min(ratio for panel in panels.values() for _, ratio in panel.values()) >= 4.5


@pytest.mark.parametrize(
    ("systems", "snr_db"),
    [
        (["nmer"], {"gaussian": [-10]}),
        (["nmer", "a_rather_long_name_of_a_system_of_my_own"], {"zero": []}),
        ([*SYSTEM_LABELS, "mine"], {"gaussian": [-10, -20, -30, -40], "impulse": [-10], "zero": []}),
    ],
)
def test_any_experiment_fits_on_the_page(small_settings, systems, snr_db):
    run = {noise: levels or [None] for noise, levels in snr_db.items()}
    scores = make_scores(replace(small_settings, systems=systems, snr_db=run), folds=1, repeats=1)
    settings = replace(small_settings, systems=systems, snr_db=snr_db, reference_noise=next(iter(snr_db)))
    figure = draw_conditions(condition_scores(scores, settings, "mosi"))
    assert_inside(figure)
    assert sum(bool(axis.images) for axis in figure.axes) == sum(map(len, run.values()))


def test_an_explanation_of_many_metrics_fits_below_a_single_panel(small_settings):
    settings = replace(small_settings, snr_db={"gaussian": [-10]})
    one = condition_scores(make_scores(settings), settings, "mosi").query("metric == 'WA'")
    metrics = ("MAE", "Corr", "Acc-2-non0", "F1-non0", "Acc-7")
    figure = draw_conditions(pd.concat([one.assign(metric=metric, at_chance=1) for metric in metrics]))
    assert_inside(figure)
    explanation = figure.get_supxlabel().replace("\n", " ")
    assert explanation.endswith("number: MAE, below: Corr, Acc-2-non0, F1-non0, Acc-7. †: at chance.")


def test_equal_scores_have_a_shade(small_settings, small_scores):
    figure = draw_conditions(condition_scores(small_scores.assign(value=0.5), small_settings, "mosi"))
    assert {text for text, _ in cells(figure.axes[0]).values()} == {"0.500\n0.500"}


def test_an_experiment_with_only_unimodal_systems_has_a_sentence(unimodal_settings, unimodal_scores):
    table = condition_scores(unimodal_scores, unimodal_settings, "iemocap")
    assert table.empty
    (text,) = draw_conditions(table).texts
    assert text.get_text() == "This experiment has no scores of multimodal systems."


def test_an_unknown_dataset_is_named_with_the_known_ones(small_settings, small_scores):
    with pytest.raises(ConfigError, match="'iemocp' is not one of iemocap, demo_iemocap, mosi"):
        condition_scores(small_scores, small_settings, "iemocp")


def test_the_step_writes_the_same_three_files_the_second_time(tmp_path, small_settings):
    settings = replace(small_settings, systems=["nmer", "men"], snr_db={"gaussian": [-10]})
    scores = make_scores(settings)
    scores.to_csv(tmp_path / "scores.csv", index=False)
    for name in ("one", "two"):
        draw_figure("conditions", tmp_path / name, "mosi", settings, scores=tmp_path / "scores.csv")
    assert_same_files(tmp_path / "one", tmp_path / "two")
    counts = ("snr_db", "trainings", "at_chance", "wa_at_majority")
    written = pd.read_csv(tmp_path / "one.csv").astype(dict.fromkeys(counts, "Int64"))
    pd.testing.assert_frame_equal(written, condition_scores(scores, settings, "mosi"), check_dtype=False, atol=1e-6)
