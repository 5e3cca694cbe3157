"""Comparisons as they are printed: every number where it belongs, bold only what is certain."""

from __future__ import annotations

import pandas as pd
import pytest

from nmer.errors import DataError
from nmer.results.printed import to_html
from nmer.results.printed_comparisons import arrange_comparisons, read_comparisons, summary
from nmer.results.statistics import COMPARISON_COLUMNS

ROWS = [
    ("iemocap", "gaussian", -10, "avg6", "WA", "men", 0.0197, 0.0055, 0.0355, 0.0001, 0.004, 0.04, 3, 0, 3, 0),
    ("iemocap", "gaussian", -10, "avg6", "UA", "men", 0.0018, -0.01, 0.02, 0.5, 1.0, 0.01, 3, 0, 3, 0),
    ("iemocap", "gaussian", -40, "avg6", "WA", "men", -0.03, -0.04, -0.02, 0.001, 0.04, -0.05, 3, 0, 3, 0),
    ("iemocap", "impulse", -10, "avg6", "WA", "my_system", 0.0, -0.01, 0.01, 1.0, 1.0, 0.0, 3, 0, 3, 0),
    ("iemocap", "gaussian", -10, "none", "WA", "men", 0.1, 0.05, 0.15, 0.001, 0.01, 0.2, 3, 0, 3, 0),
]


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=list(COMPARISON_COLUMNS)).astype({"snr_db": "Int64"})


def test_every_comparison_stands_in_its_place(table, small_settings):
    six, none = arrange_comparisons(table, small_settings).grids
    assert [text for text, _span in six.header[0]] == ["Gaussian, −10 dB", "Gaussian, −40 dB", "Impulse, −10 dB"]
    printed = {stub: [(cell.value, cell.best) for cell in cells] for (stub,), cells in six.rows}
    absent = ("–", False)
    assert printed == {
        "MEN": [("+0.0197", True), ("+0.0018", False), ("−0.0300", True), absent, absent, absent],
        "my_system": [absent, absent, absent, absent, ("+0.0000", False), absent],
    }
    assert six.rows[0][1][0].spread == "[+0.0055, +0.0355]"
    assert "all modalities noisy" in none.title
    page = to_html(arrange_comparisons(table, small_settings))
    assert "<strong>+0.0197</strong>" in page
    assert "Holm" in page


def test_the_summary_counts_what_is_won_and_lost(table, small_settings):
    assert summary(table, small_settings) == [
        "IEMOCAP: of 3 comparisons of NMER with another system in WA, over the six conditions, "
        "1 are won and 1 lost significantly."
    ]
    assert summary(table[:0], small_settings) == []


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "comparisons.csv"
    path.write_text("dataset,noise\na,b\n")
    with pytest.raises(DataError, match=r"comparisons\.csv: no column condition, metric"):
        read_comparisons(str(path))
