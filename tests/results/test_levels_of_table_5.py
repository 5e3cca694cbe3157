"""With ``all_noisy_snr_db``, results show all modalities noisy only at these levels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nmer.report_settings import ReportSettings
from nmer.results.chance_texts import shown_cells
from nmer.results.figures.conditions import condition_scores
from nmer.results.printed_tables import arrange
from nmer.results.report import what_was_run
from nmer.results.tables import read_paper, table_2, table_3, table_5


@pytest.fixture
def settings(small_settings) -> ReportSettings:
    return replace(small_settings, all_noisy_snr_db=(-10,))


@pytest.fixture
def scores(small_scores):
    """The scores of such an experiment: a system that is trained on clean data is scored all noisy at every level."""
    return small_scores[(small_scores["regime"] != "all_noisy") | (small_scores["snr_db"] == -10)]


def test_table_5_has_the_listed_levels_and_equal_cells(settings, small_settings, scores, small_scores, reference):
    paper = read_paper(reference, 5)
    table, every = table_5(scores, settings, paper), table_5(small_scores, small_settings, paper)
    assert set(table["snr_db"]) == {-10}
    assert table.equals(every[every["snr_db"] == -10].reset_index(drop=True))
    header = arrange(5, table, settings).grids[0].header
    assert header[0] == (("−10 dB", 2),)


def test_tables_2_and_3_keep_every_level(settings, small_settings, scores, reference):
    for make, number in ((table_2, 2), (table_3, 3)):
        paper = read_paper(reference, number)
        assert make(scores, settings, paper).equals(make(scores, small_settings, paper))


def test_heat_maps_show_all_noisy_cells_of_the_listed_levels(settings, scores):
    cells = condition_scores(scores, settings, "mosi")
    assert set(cells.loc[cells["condition"] == "none", "snr_db"]) == {-10}
    assert set(cells.loc[cells["condition"] == "average", "snr_db"]) == {-10, -40}


def test_cells_at_chance_are_counted_at_the_listed_levels(settings, scores):
    runs = scores[scores["metric"] == "UA"].assign(at_chance=True, wa_at_majority=False)
    cells = shown_cells(runs, settings)
    assert set(cells.loc[cells["condition"] == "none", "snr_db"]) == {-10}


def test_the_report_states_the_levels(settings, small_settings, scores):
    rows = dict(what_was_run(scores, settings))
    assert rows["Noise"] == "Gaussian (−10, −40 dB); Impulse (−10 dB)"
    assert rows["All noisy"] == "Gaussian (−10 dB)"
    assert "All noisy" not in dict(what_was_run(scores, small_settings))


def test_settings_survive_their_json(settings):
    assert ReportSettings.from_mapping(settings.to_mapping()) == settings
