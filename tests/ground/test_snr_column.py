"""The column ``snr_db``: whole levels are whole numbers, others are not rounded."""

from __future__ import annotations

import pandas as pd

from nmer.snr_column import merged_by_level, snr_of, with_snr


def test_whole_levels_are_written_without_a_decimal_point_and_others_unchanged():
    whole = with_snr(pd.DataFrame({"snr_db": [-10.0, None]}))
    assert whole.to_csv(index=False) == 'snr_db\n-10\n""\n'
    real = with_snr(pd.DataFrame({"snr_db": ["-10", "-7.5", ""]}))
    assert [snr_of(level) for level in real["snr_db"]] == [-10, -7.5, None]
    assert type(snr_of(real["snr_db"][0])) is int


def test_levels_that_are_whole_in_one_table_only_are_matched():
    left = with_snr(pd.DataFrame({"snr_db": [-10, None], "a": [1, 2]}))
    right = with_snr(pd.DataFrame({"snr_db": [-10, -7.5, None], "b": [3, 4, 5]}))
    merged = merged_by_level(left, right, ["snr_db"], "left")
    assert merged["b"].tolist() == [3, 5]
    assert str(merged["snr_db"].dtype) == "Int64"
