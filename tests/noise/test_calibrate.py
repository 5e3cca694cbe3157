"""The calibration step writes one correct row per modality."""

from __future__ import annotations

import math

import calibrate
import h5py
import numpy as np
import pytest
from small_store import IDS, make_store, read_levels, run, utterance

from nmer.errors import DataError
from nmer.noise import calibration_table

COLUMNS = "dataset,modality,noise,snr_db,variance,T,alpha_bar,attained_db,effective_db,target_db"


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("calibrate") / "small.h5")


@pytest.fixture
def levels(features, tmp_path):
    """Return a function that runs the step and returns its rows by modality."""

    def run_levels(store=features, **settings):
        output = tmp_path / "new" / "levels.csv"
        run(
            calibrate,
            {"dataset": "small", "noise": "gaussian", "snr_db": -10} | settings,
            features=store,
            output=output,
        )
        assert output.read_text().splitlines()[0] == COLUMNS
        return read_levels(output)

    return run_levels


def test_there_is_a_row_per_modality_in_the_order_a_v_l(levels):
    rows = levels(snr_db=-20)
    assert list(rows) == ["a", "v", "l"]
    assert {(row["dataset"], row["noise"], row["snr_db"]) for row in rows.values()} == {("small", "gaussian", "-20")}


def test_the_variance_is_pooled_over_all_stored_frames_and_is_one_where_standardised(levels):
    rows = levels()
    assert float(rows["a"]["variance"]) == pytest.approx(1)
    for modality in "vl":
        frames = np.concatenate([utterance(modality, name) for name in IDS]).astype(np.float64)
        assert float(rows[modality]["variance"]) == pytest.approx(frames.var(), rel=1e-6)


def test_the_scope_of_the_variance_can_exclude_rows_of_zeros(levels):
    words = np.concatenate([utterance("l", name)[:3] for name in IDS]).astype(np.float64)
    assert float(levels(scope="valid_frames")["l"]["variance"]) == pytest.approx(words.var(), rel=1e-6)


@pytest.mark.parametrize("target", [5, -10, -30])
def test_t_is_the_nearest_and_matches_its_alpha_bar_and_snr(levels, target):
    for row in levels(snr_db=target).values():
        variance = float(row["variance"])
        kept = np.array([np.prod(1 - np.linspace(0.001, 0.1, steps)) for steps in range(1, 300)])
        reached = 10 * np.log10(kept * variance / (1 - kept))
        nearest = int(np.abs(reached - target).argmin())
        assert int(row["T"]) == nearest + 1
        assert float(row["alpha_bar"]) == pytest.approx(kept[nearest], rel=1e-10)
        assert float(row["attained_db"]) == pytest.approx(reached[nearest], abs=1e-9)


def test_gaussian_noise_is_as_strong_as_its_label_and_impulses_5_23_db_weaker(levels):
    for row in levels().values():
        assert float(row["effective_db"]) == float(row["attained_db"])
    impulse = levels(noise="impulse")
    for row in impulse.values():
        gain = float(row["effective_db"]) - float(row["attained_db"])
        assert gain == pytest.approx(10 * math.log10(1 / 0.3), abs=1e-9)
    assert [row["T"] for row in impulse.values()] == [row["T"] for row in levels().values()]


def test_options_of_a_kind_affect_its_power(levels):
    row = levels(noise="impulse", options={"frequency": 0.5})["a"]
    assert float(row["effective_db"]) - float(row["attained_db"]) == pytest.approx(10 * math.log10(2))


def test_an_exact_alpha_bar_has_no_t(levels):
    for row in levels(mode="exact_abar").values():
        variance, kept = float(row["variance"]), float(row["alpha_bar"])
        assert (row["T"], row["attained_db"]) == ("", "-10.0")
        assert 10 * math.log10(kept * variance / (1 - kept)) == pytest.approx(-10)


def test_a_configured_schedule_is_used(levels):
    row = levels(schedule={"beta_start": 0.01, "beta_end": 0.5})["v"]
    assert float(row["alpha_bar"]) == pytest.approx(np.prod(1 - np.linspace(0.01, 0.5, int(row["T"]))))


def test_a_level_that_misses_its_target_gives_a_warning(levels, tmp_path, capsys):
    # The lexical variance becomes about 0.03: no integer T gives an SNR between -5.7 and 14.8 dB (SPEC 2.6).
    levels(make_store(tmp_path / "x.h5", scale=0.6), snr_db=3)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: small, l, gaussian_3dB")
    assert "exact_abar" in warnings[0]


def test_at_0_db_an_integer_t_that_misses_is_replaced_by_the_exact_level(levels, tmp_path, capsys):
    rows = levels(make_store(tmp_path / "x.h5", scale=0.6), snr_db=0)
    variance, alpha_bar = float(rows["l"]["variance"]), float(rows["l"]["alpha_bar"])
    assert rows["l"]["T"] == ""
    assert alpha_bar * variance / (1 - alpha_bar) == pytest.approx(1, rel=1e-9)
    assert float(rows["l"]["attained_db"]) == 0
    assert all(int(rows[m]["T"]) > 1 and abs(float(rows[m]["attained_db"])) <= 1 for m in "av")
    assert capsys.readouterr().err == ""


def test_a_level_that_meets_its_target_gives_no_warning(levels, capsys):
    levels(snr_db=-20)
    assert capsys.readouterr().err == ""


def test_a_constant_modality_ends_in_one_message_and_nothing_is_written(levels, tmp_path, capsys):
    store = make_store(tmp_path / "x.h5")
    with h5py.File(store, "r+") as file:  # write_store refuses such a modality
        file["l"].attrs["variance_stored"] = 0.0
    with pytest.raises(SystemExit) as ending:
        levels(store)
    message = capsys.readouterr().err
    assert ending.value.code == 1
    assert message.startswith("error: ")
    assert "constant" in message
    assert not (tmp_path / "new" / "levels.csv").exists()


@pytest.mark.parametrize("match", ["nominal", "effective"])
def test_noise_without_power_ends_in_one_message(levels, capsys, match):
    with pytest.raises(SystemExit):
        levels(noise="impulse", options={"frequency": 0.0}, match=match)
    assert capsys.readouterr().err == (
        "error: noise.kinds.impulse: this noise has no power, so no SNR. Change its options.\n"
    )


@pytest.mark.parametrize(("column", "value"), [("alpha_bar", "1"), ("alpha_bar", "0"), ("variance", "0")])
def test_a_table_with_an_impossible_level_is_refused(tmp_path, column, value):
    path, row = tmp_path / "levels.csv", dict.fromkeys(COLUMNS.split(","), "0.5") | {"modality": "a", column: value}
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(DataError, match="modality 'a' has an impossible alpha_bar or variance"):
        calibration_table.read_levels(path, additive=True, modalities=("a",))
    assert calibration_table.read_levels(path, additive=False, modalities=("a",))["a"][column] == value
