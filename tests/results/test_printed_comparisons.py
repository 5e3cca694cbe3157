"""Printed comparisons have every number in its cell and only significant ones in bold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nmer.errors import DataError
from nmer.results.printed import to_html
from nmer.results.printed_comparisons import arrange_comparisons, read_comparisons, summary
from nmer.results.statistics import COMPARISON_COLUMNS

ROWS = [
    (
        "iemocap",
        "gaussian",
        -10,
        "average",
        "WA",
        "men",
        0.0197,
        0.0055,
        0.0355,
        0.0001,
        0.004,
        0.04,
        3,
        0,
        3,
        0,
        "10 folds",
        "",
    ),
    (
        "iemocap",
        "gaussian",
        -10,
        "average",
        "UA",
        "men",
        0.0018,
        -0.01,
        0.02,
        0.5,
        1.0,
        0.01,
        3,
        0,
        3,
        0,
        "10 folds",
        "",
    ),
    (
        "iemocap",
        "gaussian",
        -40,
        "average",
        "WA",
        "men",
        -0.03,
        -0.04,
        -0.02,
        0.001,
        0.04,
        -0.05,
        3,
        0,
        3,
        0,
        "10 folds",
        "",
    ),
    (
        "iemocap",
        "impulse",
        -10,
        "average",
        "WA",
        "my_system",
        0.0,
        -0.01,
        0.01,
        1.0,
        1.0,
        0.0,
        3,
        0,
        3,
        0,
        "10 folds",
        "",
    ),
    ("iemocap", "gaussian", -10, "none", "WA", "men", 0.1, 0.05, 0.15, 0.001, 0.01, 0.2, 3, 0, 3, 0, "10 folds", ""),
]


@pytest.fixture
def table() -> pd.DataFrame:
    columns = [name for name in COMPARISON_COLUMNS if name != "reference"]
    return pd.DataFrame(ROWS, columns=columns).assign(reference="nmer").astype({"snr_db": "Int64"})


def test_every_comparison_is_in_its_cell(table, small_settings):
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


def test_the_summary_counts_wins_and_losses(table, small_settings):
    assert summary(table, small_settings) == [
        "IEMOCAP: of 3 comparisons of NMER with another system in WA, over the incomplete conditions, "
        "1 are won and 1 lost significantly."
    ]
    assert summary(table[:0], small_settings) == []


def test_the_reference_system_is_named_in_print_and_in_the_summary(table, small_settings):
    settings = replace(small_settings, reference="my_system")
    printed = arrange_comparisons(table.assign(reference="my_system", reference_at_chance=1), settings)
    assert printed.caption == "my_system minus each other system."
    assert "after its name, of my_system are at chance" in printed.note
    assert printed.grids[0].rows[0][1][0].mark == "† my_system 1/3"
    assert "of 3 comparisons of my_system with another system" in summary(table, settings)[0]


@pytest.mark.parametrize(
    ("systems", "reference", "expected"),
    [
        (["men", "nmer"], "", "nmer"),
        (["men", "nmer"], "men", "men"),
        (["unimodal_a", "men", "my_system"], "", "men"),
        (["unimodal_a"], "", ""),
    ],
)
def test_the_reference_is_the_key_or_nmer_or_the_first_multimodal_system(small_settings, systems, reference, expected):
    assert replace(small_settings, systems=systems, reference=reference).reference_system == expected


def test_a_reader_sees_where_the_linear_reference_is_ahead(small_settings):
    about = {"at_chance": 0, "trainings": 1, "p_adjusted": 0.5, "low": -0.1, "high": 0.1, "untested": "", "units": ""}
    rows = []
    # NMER minus each: the reference is ahead of NMER at three levels, of all systems at two of them.
    differences = {
        "men": (0.01, 0.02, -0.05, 0.0),
        "logistic_regression": (-0.02, -0.03, -0.01, 0.02),
        "majority": (0.2, 0.2, 0.2, 0.2),
    }
    for system, values in differences.items():
        for level, value in zip((-10, -20, -30, -40), values, strict=True):
            rows.append(about | {"system": system, "snr_db": level, "difference": value})
    wa = pd.DataFrame(rows).assign(dataset="iemocap", noise="gaussian", condition="average", metric="WA")
    wa = wa.assign(p_value=0.5, effect=0.0, reference="nmer", reference_trainings=3, reference_at_chance=0)
    ua = wa.assign(metric="UA", difference=-wa["difference"])
    sentence = summary(pd.concat([wa, ua])[list(COMPARISON_COLUMNS)], small_settings)[1]
    assert sentence == (
        "IEMOCAP: a logistic regression (reference) on the same noisy features scores higher than NMER, and than every "
        "system, at this many noise kinds and levels over the incomplete conditions: WA: 3 of 4 and 2 of 4; "
        "UA: 1 of 4 and 1 of 4."
    )


def test_an_untested_comparison_has_a_reason_and_no_interval(table, small_settings):
    none = {"low": np.nan, "high": np.nan, "p_adjusted": np.nan, "untested": "one repeat"}
    partly = table.copy()
    partly.loc[0, list(none)] = none
    printed = arrange_comparisons(partly, small_settings)
    assert printed.grids[0].rows[0][1][0].spread == ""
    assert "IEMOCAP: variance over 10 folds." in printed.note
    assert "1 of its 5 differences have neither interval nor test (one repeat)." in printed.note
    assert "0 are won and 1 lost significantly. 1 is not tested." in summary(partly, small_settings)[0]
    assert summary(table.assign(**none), small_settings) == ["IEMOCAP: no difference is tested (one repeat)."]


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "comparisons.csv"
    path.write_text("dataset,noise\na,b\n")
    with pytest.raises(DataError, match=r"comparisons\.csv: no column condition, metric"):
        read_comparisons(str(path))
