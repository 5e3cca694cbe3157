"""Compare intervals and tests of sums of scores with classical tests of scipy and statsmodels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from nmer.results.contrasts import NO_VARIATION, ONE_REPEAT, ONE_UNIT, Contrast, Contrasts
from nmer.results.contributions import Contributions, measure
from nmer.results.predictions import FoldPredictions, Run


def make_run(
    correct: np.ndarray, system: str = "nmer", regime: str = "all_noisy", snr_db: int = -10, folds: int = 1
) -> Run:
    """Return a run with correct answers where ``correct`` (repeats, utterances) is true; folds have equal size."""
    parts = {}
    for fold, rows in enumerate(np.array_split(np.arange(correct.shape[1]), folds), start=1):
        labels = rows % 2
        utterances = np.array([f"u{number:05d}" for number in rows])
        parts[fold] = FoldPredictions(utterances, labels, np.where(correct[:, rows], labels, 1 - labels)[:, None])
    return Run(("corpus", system, regime, "gaussian", snr_db), ("no", "yes"), ("none",), parts)


def row(measured: Contributions, metric: str = "WA", **where: object) -> int:
    cells = measured.cells[measured.cells["metric"] == metric]
    for name, value in where.items():
        cells = cells[cells[name] == value]
    (found,) = cells.index
    return found


def answers(share: float, repeats: int, utterances: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((repeats, utterances)) < share


def test_a_score_of_a_deterministic_training_has_the_interval_of_a_mean():
    correct = answers(0.7, 1, 300)
    measured = measure([make_run(correct)], deterministic=["nmer"])
    found = Contrasts(measured).of({row(measured): 1.0})
    assert found.value == pytest.approx(correct.mean())
    assert found.interval() == pytest.approx(DescrStatsW(correct[0].astype(float)).tconfint_mean(), abs=1e-6)


def test_a_difference_of_two_deterministic_systems_is_a_paired_t_test():
    pair = [answers(0.7, 1, 300, seed) for seed in (1, 2)]
    measured = measure([make_run(pair[0]), make_run(pair[1], "men")], deterministic=["nmer", "men"])
    weights = {row(measured, system="nmer"): 1.0, row(measured, system="men"): -1.0}
    found, expected = Contrasts(measured).of(weights), stats.ttest_rel(*(each[0].astype(float) for each in pair))
    assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-4)
    assert found.interval() == pytest.approx(expected.confidence_interval(), abs=1e-6)


def test_over_folds_a_difference_is_a_paired_t_test_of_fold_means():
    pair = [answers(0.7, 3, 300, seed) for seed in (1, 2)]
    measured = measure([make_run(pair[0], folds=10), make_run(pair[1], "men", folds=10)])
    weights = {row(measured, system="nmer"): 1.0, row(measured, system="men"): -1.0}
    means = [each.mean(axis=0).reshape(10, 30).mean(axis=1) for each in pair]
    expected = stats.ttest_rel(*means)
    assert Contrasts(measured).of(weights).p_value() == pytest.approx(expected.pvalue, rel=1e-4)


def test_over_videos_the_variance_is_cluster_robust():
    correct, videos = answers(0.7, 1, 300), np.random.default_rng(3).integers(25, size=300)
    clusters = {f"u{number:05d}": str(video) for number, video in enumerate(videos)}
    measured = measure([make_run(correct)], {"corpus": clusters}, deterministic=["nmer"])
    found = Contrasts(measured).of({row(measured): 1.0})
    model = sm.OLS(correct[0].astype(float), np.ones(300))
    expected = model.fit(cov_type="cluster", cov_kwds={"groups": videos}, use_t=True)
    assert found.interval() == pytest.approx(expected.conf_int()[0], abs=1e-6)


def test_over_folds_that_share_speakers_it_is_two_way_cluster_robust():
    speakers = np.random.default_rng(3).integers(25, size=300)
    # Speakers differ, so their part of the variance is larger.
    correct = (np.random.default_rng(4).random(300) < 0.4 + 0.4 * (speakers % 2))[None]
    clusters = {f"u{number:05d}": str(speaker) for number, speaker in enumerate(speakers)}
    measured = measure([make_run(correct, folds=10)], {"corpus": clusters}, deterministic=["nmer"])
    ((variance, freedom),) = Contrasts(measured).of({row(measured): 1.0}).parts
    groups = np.stack([np.arange(300) // 30, speakers], axis=1)
    model = sm.OLS(correct[0].astype(float), np.ones(300))
    expected = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert variance == pytest.approx(expected.cov_params()[0, 0], rel=1e-5)
    assert freedom == 9


def test_over_folds_that_share_speakers_the_variance_is_at_least_that_over_folds_and_that_over_speakers():
    # Answers alternate over folds and speakers, so those of a speaker cancel and the two-way variance is too small.
    folds, speakers = np.arange(300) // 30, np.arange(300) % 25
    correct = ((folds + speakers) % 2 == 0)[None]
    clusters = {f"u{number:05d}": str(speaker) for number, speaker in enumerate(speakers)}
    measured = measure([make_run(correct, folds=10)], {"corpus": clusters}, deterministic=["nmer"])
    ((variance, _freedom),) = Contrasts(measured).of({row(measured): 1.0}).parts
    model = sm.OLS(correct[0].astype(float), np.ones(300))
    two_way, of_folds, of_speakers = (
        model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True).cov_params()[0, 0]
        for groups in (np.stack([folds, speakers], axis=1), folds, speakers)
    )
    assert two_way < of_folds
    assert variance == pytest.approx(max(of_folds, of_speakers), rel=1e-5)


def test_on_one_fold_the_noise_of_items_within_a_repeat_counts_once():
    pair = [answers(0.7, 3, 500, 1), answers(0.6, 2, 500, 2)]
    pair[0][0, :60] = False  # one training is clearly worse
    pair[0][:, 200:] = pair[0][0, 200:]  # and most utterances are easy or hard in all of them
    pair[1][:, 200:] = pair[1][0, 200:]
    measured = measure([make_run(pair[0]), make_run(pair[1], "men")])
    found = Contrasts(measured).of({row(measured, system="nmer"): 1.0, row(measured, system="men"): -1.0})
    difference = pair[0].mean(axis=0) - pair[1].mean(axis=0)
    trainings, noise = [], 0.0
    for each in pair:
        scores = each.mean(axis=1)
        noise += sum(np.var((each - scores[:, None])[:, item], ddof=1) for item in range(500)) / 500**2 / len(each)
        trainings.append(scores.var(ddof=1) / len(each))
    (items, item_freedom), (training, freedom) = found.parts
    assert items == pytest.approx(difference.var(ddof=1) / 500 - noise, rel=1e-4)
    assert item_freedom == 499
    assert training == pytest.approx(sum(trainings), rel=1e-4)
    welch = sum(trainings) ** 2 / sum(v**2 / (len(each) - 1) for v, each in zip(trainings, pair, strict=True))
    assert freedom == pytest.approx(welch, rel=1e-4)


def test_trainings_that_agree_by_chance_have_at_least_the_interval_of_the_mean_over_items():
    # Every utterance is classified correctly by two of three trainings, and all trainings score the same.
    correct = np.stack([np.arange(300) % 3 != repeat for repeat in range(3)])
    correct[:, :30] = True
    measured = measure([make_run(correct)])
    found = Contrasts(measured).of({row(measured): 1.0})
    expected = DescrStatsW(correct.mean(axis=0)).tconfint_mean()
    assert found.interval() == pytest.approx(expected, abs=1e-6)
    assert found.p_value(against=expected[1]) == pytest.approx(0.05, rel=1e-4)


def test_items_that_differ_by_noise_only_leave_the_interval_of_the_mean_over_trainings():
    # Every utterance is classified correctly by two of three trainings, and the trainings differ.
    wrong = np.repeat([0, 1, 2], [120, 100, 80])
    correct = wrong != np.arange(3)[:, None]
    measured = measure([make_run(correct)])
    expected = DescrStatsW(correct.mean(axis=1)).tconfint_mean()
    assert Contrasts(measured).of({row(measured): 1.0}).interval() == pytest.approx(expected, abs=1e-6)


def test_each_part_keeps_its_quantile_and_the_p_value_matches_the_interval_limits():
    found = Contrast(0.05, ((0.0001, 99), (0.0004, 2)))
    low, high = found.interval()
    half = np.sqrt(0.0001 * stats.t.ppf(0.975, 99) ** 2 + 0.0004 * stats.t.ppf(0.975, 2) ** 2)
    assert (low, high) == pytest.approx((0.05 - half, 0.05 + half))
    assert found.p_value(against=low) == pytest.approx(0.05, rel=1e-6)
    assert found.p_value(against=high) == pytest.approx(0.05, rel=1e-6)
    low, high = found.interval(0.8)
    assert found.p_value(against=low) == pytest.approx(0.2, rel=1e-6)
    assert found.p_value(against=0.05) == 1
    # With a single part both equal those of a t test.
    single = Contrast(0.05, ((0.0004, 2),))
    assert single.p_value() == pytest.approx(2 * stats.t.sf(0.05 / 0.02, 2), rel=1e-6)
    assert 0 < Contrast(1e6, ((1.0, 4000),)).p_value() < 1e-11


def test_a_system_trained_clean_has_the_same_trainings_at_every_level():
    # Two trainings differ a lot, equally at both levels, so their losses between the levels do not differ.
    first = answers(0.9, 2, 400)
    first[1, :200] = False
    second = first & answers(0.95, 1, 400, 5)
    levels = {-10: first, -20: second}
    found = {}
    for regime in ("clean", "all_noisy"):
        measured = measure([make_run(each, "men", regime, level) for level, each in levels.items()])
        weights = {row(measured, snr_db=-10): 1.0, row(measured, snr_db=-20): -1.0}
        low, high = Contrasts(measured).of(weights).interval()
        found[regime] = high - low
    assert found["all_noisy"] > 10 * found["clean"]


@pytest.mark.parametrize("regime", ["clean", "all_noisy"])
def test_noises_without_an_snr_are_separate_trainings_unless_trained_clean(regime):
    at_rates = {
        0: make_run(answers(0.9, 3, 200, 3), regime=regime),
        0.5: make_run(answers(0.6, 3, 200, 3), regime=regime),
    }
    measured = measure(
        [replace(run, key=("corpus", "nmer", regime, f"drop_frames_{rate}", None)) for rate, run in at_rates.items()]
    )
    contrasts = Contrasts(measured)
    assert all(np.isfinite(contrasts.of({cell: 1.0}).interval()).all() for cell in measured.cells.index)
    assert len(set(contrasts._training.tolist())) == (1 if regime == "clean" else 2)


def test_a_difference_that_the_design_cannot_show_is_not_tested_and_has_a_reason():
    one, three = make_run(answers(0.7, 1, 50)), make_run(answers(0.7, 3, 50, 1), "men")
    measured = measure([one, three])
    single = Contrasts(measured).of({row(measured, system="nmer"): 1.0})
    assert single.untested == ONE_REPEAT
    both = Contrasts(measured).of({row(measured, system="nmer"): 1.0, row(measured, system="men"): -1.0})
    assert both.untested == ONE_REPEAT
    assert np.isnan([*both.interval(), both.p_value()]).all()
    # A deterministic training needs no other repeat.
    known = measure([one, three], deterministic=["nmer"])
    weights = {row(known, system="nmer"): 1.0, row(known, system="men"): -1.0}
    assert Contrasts(known).of(weights).untested == ""
    tiny = measure([make_run(answers(0.7, 3, 1))])
    assert Contrasts(tiny).of({row(tiny): 1.0}).untested == ONE_UNIT


def test_equal_answers_have_no_difference_and_a_constant_difference_no_test():
    same = answers(0.7, 3, 60)
    measured = measure([make_run(same), make_run(same, "men")], deterministic=["nmer", "men"])
    found = Contrasts(measured).of({row(measured, system="nmer"): 1.0, row(measured, system="men"): -1.0})
    assert (found.value, found.p_value(), found.untested) == (0, 1, NO_VARIATION)
    opposite = measure([make_run(np.ones((2, 9), bool)), make_run(np.zeros((2, 9), bool), "men")])
    found = Contrasts(opposite).of({row(opposite, system="nmer"): 1.0, row(opposite, system="men"): -1.0})
    assert (found.value, found.untested) == (pytest.approx(1), NO_VARIATION)
    assert np.isnan(found.p_value())
