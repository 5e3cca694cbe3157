"""Rates of a noise kind are printed with the name of the kind, never by the name of their files."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from synthetic_results import make_scores

from nmer.report_settings import DatasetSettings, UnimodalSettings
from nmer.results.labels import noise_label, use_labels
from nmer.results.level_curves import trained_title
from nmer.results.printed import to_markdown
from nmer.results.printed_comparisons import arrange_comparisons
from nmer.results.printed_tables import arrange
from nmer.results.report import headlines, read_calibration, what_was_run
from nmer.results.statistics import COMPARISON_COLUMNS
from nmer.results.tables import read_paper, table_2, table_3, table_4, table_5
from nmer.results.wording import level_label, level_title

RATES = {
    "drop_frames": {"drop_frames_0": 0.0, "drop_frames_0.3": 0.3},
    "lose_some": {"lose_some_0.3": 0.3},
}
NAMES = [name for noises in RATES.values() for name in noises]


@pytest.fixture(autouse=True)
def printed_rates():
    use_labels({}, RATES)
    yield
    use_labels({}, {})


@pytest.fixture
def settings(small_settings):
    """Rates of two kinds next to SNRs and a kind without a level."""
    noises = {"drop_frames_0.3": [], "drop_frames_0": [], "lose_some_0.3": [], "gaussian": [-40, -10], "zero": []}
    return replace(
        small_settings,
        datasets={"mosi": DatasetSettings()},
        systems=["nmer", "mmin"],
        snr_db=noises,
        rates=RATES,
    )


@pytest.fixture
def scores(settings):
    run = {noise: levels or [None] for noise, levels in settings.snr_db.items()}
    return make_scores(replace(settings, snr_db=run))


def only_rates(settings):
    return replace(settings, snr_db={name: [] for name in NAMES}, reference_noise="drop_frames_0")


def test_a_level_is_printed_with_its_kind():
    assert level_title("drop_frames_0.3", None) == "drop frames, rate 0.3"
    assert level_title("lose_some_0.3", pd.NA) == "lose_some, rate 0.3"
    assert level_title("drop_frames", None) == "drop frames"
    assert level_title("gaussian", -10) == "Gaussian, −10 dB"
    assert [level_label("drop_frames_0", None), level_label("zero", None)] == ["rate 0", "no SNR"]
    assert trained_title("drop_frames_0.3") == "drop frames, rate 0.3"
    assert trained_title("gaussian_-10dB") == "Gaussian, −10 dB"
    use_labels({}, {})
    assert noise_label("drop_frames_0.3") == "drop_frames_0.3", "a noise that is not a rate keeps its name"


def test_table_2_groups_columns_by_level_snrs_first(settings, scores, reference):
    table = table_2(scores, settings, read_paper(reference, 2))
    (grid,) = arrange(2, table, settings).grids
    levels, kinds, metrics = grid.header
    assert levels == (("−10 dB", 2), ("−40 dB", 2), ("rate 0", 2), ("rate 0.3", 4), ("no SNR", 2))
    assert [text for text, _span in kinds] == [
        "Gaussian",
        "Gaussian",
        "drop frames",
        "drop frames",
        "lose_some",
        "zero",
    ]
    assert len(metrics) == len(grid.rows[0][1]) == 12
    # Every column holds the score of its own noise and level.
    own = table[(table["system"] == "nmer") & (table["metric"] == "WA")].set_index(["noise", "snr_db"])["mean"]
    order = ["gaussian", "gaussian", "drop_frames_0", "drop_frames_0.3", "lose_some_0.3", "zero"]
    (cells,) = [cells for (system,), cells in grid.rows if system == "NMER"]
    snrs = iter((-10, -40))
    expected = [own[name, next(snrs)] if name == "gaussian" else own[name].item() for name in order]
    assert [float(cell.value) for cell in cells[::2]] == pytest.approx(expected, abs=1e-4)
    assert set(table["noise"]) == set(settings.snr_db), "the CSV has the names of the files"


@pytest.mark.parametrize(("number", "make"), [(3, table_3), (5, table_5)])
def test_tables_of_the_reference_noise_name_its_rates(settings, reference, number, make):
    settings = only_rates(settings)
    scores = make_scores(replace(settings, snr_db={name: [None] for name in NAMES}))
    (grid,) = arrange(number, make(scores, settings, read_paper(reference, number)), settings).grids
    expected = ["drop frames, rate 0", "drop frames, rate 0.3"]
    if number == 3:
        assert grid.stubs == ("Noise", "Metric")
        assert list(dict.fromkeys(noise for (noise, _metric), _cells in grid.rows)) == expected
    else:
        assert [text for text, _span in grid.header[0]] == expected


@pytest.mark.parametrize("clean", [False, True])
def test_the_table_of_single_modalities_names_rates_and_kinds_without_a_level(settings, reference, clean):
    systems = ["unimodal_a", "unimodal_v"]
    unimodal = UnimodalSettings(datasets=["mosi"], snr_db=[], clean_reference=clean)
    cases = [(only_rates(settings), ["drop frames, rate 0", "drop frames, rate 0.3"])]
    cases += [(replace(settings, snr_db={"zero": []}, reference_noise="zero"), ["zero"])]
    for case, expected in cases:
        own = replace(case, systems=systems, unimodal=unimodal)
        scores = make_scores(replace(own, snr_db={name: [None] for name in own.snr_db}))
        if clean:
            of_clean = scores[scores["condition"] == "none"].assign(regime="clean", condition="avl", noise="")
            scores = pd.concat([scores, of_clean.drop_duplicates(["system", "fold", "repeat", "metric"])])
        table = table_4(scores, own, read_paper(reference, 4))
        (grid,) = arrange(4, table, own).grids
        assert grid.stubs == ("Noise",)
        assert [label for (label,), _cells in grid.rows] == ["clean"] * clean + expected
        assert all(cell.value != "–" for _labels, cells in grid.rows for cell in cells)
        described = dict(what_was_run(scores, own))["Uni-modal"]
        levels = "drop frames (rates 0, 0.3)" if len(expected) > 1 else "zero"
        assert described.startswith(f"acoustic, visual on mosi; {levels}; trained on equally noisy data")


def test_comparisons_and_headlines_name_rates(settings, scores):
    row = ("mosi", "drop_frames_0.3", pd.NA, "average", "WA", "nmer", "mmin")
    names = ["dataset", "noise", "snr_db", "condition", "metric", "reference", "system"]
    table = pd.DataFrame([row], columns=names).reindex(columns=list(COMPARISON_COLUMNS)).astype({"snr_db": "Int64"})
    table = table.assign(units="9 speakers", untested="")
    printed = to_markdown(arrange_comparisons(table, settings))
    assert "| System | drop frames, rate 0.3 WA |" in printed
    assert "no SNR" not in printed
    sentences = headlines(make_scores(replace(settings, snr_db={key: [None] for key in NAMES})), only_rates(settings))
    starts = [
        "mosi, drop frames, rate 0: ",
        "mosi, drop frames, rate 0.3: ",
        "mosi, drop frames: from rate 0 to rate 0.3, ",
    ]
    assert [text[: len(start)] for text, start in zip(sentences, starts, strict=True)] == starts
    assert "the best of 2 systems is" in sentences[0]
    described = dict(what_was_run(scores, settings))["Noise"]
    assert described == "drop frames (rates 0, 0.3); lose_some (rate 0.3); Gaussian (−10, −40 dB); zero"


def test_the_calibration_lists_the_rate_of_a_kind(tmp_path):
    columns = "dataset,modality,noise,snr_db,variance,T,alpha_bar,attained_db,effective_db,target_db"
    (tmp_path / "mosi.csv").write_text(f"{columns}\nmosi,a,drop_frames_0.3,,1.5,,,,,\nmosi,a,zero,,1.5,,,,,\n")
    rows = read_calibration([str(tmp_path / "mosi.csv")])
    assert [(row["noise"], row["level"]) for row in rows] == [("drop frames", "rate 0.3"), ("zero", "–")]
