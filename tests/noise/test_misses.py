"""Noise whose strength differs from its label gives a warning with the reason, for every kind."""

from __future__ import annotations

import csv
import sys

import add_noise
import collect_calibration
import numpy as np
import pytest
from small_store import DIMS, make_noisy, make_store

from nmer import command
from nmer.errors import ConfigError
from nmer.noise.corruption import NoiseSource
from nmer.noise.features import corrupt_features
from nmer.noise.misses import COARSE, DRAWN, WEAK, miss, miss_sentences
from nmer.results.report import read_calibration, warnings

KIND = """
import numpy as np
from nmer.noise.registry import noise_kind

@noise_kind("mine")
def mine(shape, generator):
    return {returned}
{stated}
"""
DEPENDENT = {
    "power depends on the width": ("generator.standard_normal(shape) / shape[1]", ""),
    "power depends on the length": ("generator.standard_normal(shape) / np.sqrt(shape[0])", "mine.power = lambda: 1.0"),
    "constant power that differs from the declared one": (
        "generator.standard_normal(shape)",
        "mine.power = lambda: 0.01",
    ),
    "zeros above width 1": ("np.zeros(shape) if shape[1] > 1 else generator.standard_normal(shape)", ""),
}


def write_kind(folder, returned: str, stated: str = "") -> str:
    (folder / "mine.py").write_text(KIND.format(returned=returned, stated=stated))
    return str(folder / "mine.py")


def row(**columns: object) -> dict[str, object]:
    whole = {
        "dataset": "d",
        "noise": "n",
        "snr_db": -10,
        "attained_db": -10.0,
        "effective_db": -10.0,
        "target_db": -10.0,
    }
    return whole | {"measured_db": -10.0} | columns


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, ""),
        ({"measured_db": -9.1}, ""),
        ({"measured_db": -8.9}, DRAWN),
        ({"measured_db": -11.1}, DRAWN),
        ({"measured_db": float("inf")}, DRAWN),
        ({"measured_db": "7.0", "effective_db": "-10.0"}, DRAWN),
        ({"attained_db": -5.7, "effective_db": -5.7, "measured_db": -5.7}, COARSE),
        ({"effective_db": -4.8, "measured_db": -4.8}, WEAK),
        ({"attained_db": -15.2, "target_db": -15.2}, ""),
        ({"snr_db": "", "attained_db": "", "effective_db": "", "target_db": "", "measured_db": ""}, ""),
        ({"measured_db": ""}, ""),
        ({"measured_db": "", "effective_db": -4.8}, WEAK),
    ],
)
def test_a_miss_has_its_reason(columns, reason):
    assert miss(row(**columns)) == reason
    assert len(miss_sentences([row(**columns)])) == bool(reason)


def test_a_sentence_gives_the_number_of_misses_and_their_range():
    rows = [
        row(),
        row(snr_db=-20, effective_db=-15, attained_db=-20, target_db=-20, measured_db=-15),
        row(measured_db=7),
    ]
    rows += [row(noise="other", measured_db=-40)]
    drawn, weak, other = miss_sentences(rows)
    assert drawn.startswith("d, n: 1 of 3 levels miss their target by +17.0 dB. The power of the noise drawn")
    assert weak.startswith("d, n: 1 of 3 levels miss their target by +5.0 dB. ")
    assert other.startswith("d, other: 1 of 1 levels miss their target by -30.0 dB. ")


@pytest.mark.parametrize("dependence", DEPENDENT)
def test_a_kind_whose_power_differs_from_its_calibration_gives_warnings(tmp_path, monkeypatch, capsys, dependence):
    file = write_kind(tmp_path, *DEPENDENT[dependence])
    output = make_noisy(make_store(tmp_path / "small.h5"), tmp_path, "mine", file=file)
    assert "warning: small, mine: " in capsys.readouterr().err
    calibration = tmp_path / "all.csv"
    measured = output.with_name(f"{output.stem}_measured.csv")
    arguments = ["--calibrated", output.with_suffix(".csv"), "--measured", measured]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments), "--output", str(calibration)])
    command.run(collect_calibration.main)
    messages = capsys.readouterr().err
    assert f"warning: small, mine: {len(DIMS)} of {len(DIMS)} levels miss their target" in messages
    with calibration.open(newline="") as stream:
        assert {row["miss"] for row in csv.DictReader(stream)} == {DRAWN}
    rows = read_calibration([str(calibration)])
    assert all(row["off"] for row in rows)
    assert any("small, mine: " in warning for warning in warnings([], rows))


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_kinds_of_unit_power_miss_nothing(tmp_path, capsys, kind):
    make_noisy(make_store(tmp_path / "small.h5"), tmp_path, kind, mode="exact_abar")
    assert "miss" not in capsys.readouterr().err


def test_impulse_noise_gives_a_warning_unless_calibration_accounts_for_its_power(tmp_path, capsys):
    make_noisy(make_store(tmp_path / "small.h5"), tmp_path, "impulse", mode="exact_abar")
    assert "The noise does not have unit power" in capsys.readouterr().err
    make_noisy(make_store(tmp_path / "small.h5"), tmp_path, "impulse", mode="exact_abar", match="effective")
    assert "miss" not in capsys.readouterr().err


def test_add_noise_warns_for_arrays(tmp_path, monkeypatch, capsys):
    file = write_kind(tmp_path, *DEPENDENT["power depends on the width"])
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 50, 8)))
    arguments = ["--input", tmp_path / "x.npy", "--modality", "a", "--snr-db", "-10", "--noise", "mine", "--file", file]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments), "--output", str(tmp_path / "y.npy")])
    command.run(add_noise.main)
    assert "warning: own, mine: 1 of 1 levels miss their target by +18" in capsys.readouterr().err


@pytest.mark.parametrize(
    "returned",
    [
        "generator.standard_normal(shape[1])",  # would be broadcast over the frames
        "generator.standard_normal((shape[0], 1))",
        "1.0",
        "None",
        "np.full(shape, np.nan) if shape[1] > 1 else np.ones(shape)",
        "np.ones(shape, complex)",
    ],
)
def test_noise_of_a_wrong_shape_or_type_is_refused(tmp_path, returned):
    file = write_kind(tmp_path, returned, "mine.power = lambda: 1.0")
    with pytest.raises(ConfigError, match="Noise kind 'mine' returned"):
        corrupt_features({"u": np.eye(5)}, "mine", -10, dataset="d", modality="a", file=file)
    with pytest.raises(ConfigError, match="Noise kind 'mine' returned"):
        NoiseSource.load("mine", "d", file=file).eps("u", "a", (5, 5))


@pytest.mark.parametrize(
    "returned",
    ["None", "'noise'", "np.ones(shape) * 1j", "[[1.0], [1.0, 2.0]]", "{}", "object()", "np.ones(3, 'M8[s]')"],
)
def test_a_result_that_is_not_noise_is_refused_when_its_power_is_measured(tmp_path, capsys, returned):
    file = write_kind(tmp_path, returned)
    with pytest.raises(ConfigError, match="Noise kind 'mine' returned"):
        corrupt_features({"u": np.eye(5)}, "mine", -10, dataset="d", modality="a", file=file)


@pytest.mark.parametrize(
    "returned",
    [
        "np.random.standard_normal(shape)",
        "np.random.default_rng().standard_normal(shape)",
        "(count.append(0), len(count) * generator.standard_normal(shape))[1]",
    ],
)
@pytest.mark.parametrize("additive", [True, False])
def test_noise_drawn_outside_the_generator_is_refused(tmp_path, returned, additive):
    declared = '@noise_kind("mine")' if additive else '@noise_kind("mine", additive=False)'
    kind = KIND.format(returned=returned, stated="count = []").replace('@noise_kind("mine")', declared)
    if not additive:
        kind = kind.replace("(shape, generator)", "(values, generator)").replace("(shape)", "(values.shape)")
    (tmp_path / "mine.py").write_text(kind)
    with pytest.raises(ConfigError, match="'mine' returned different noise when called again"):
        corrupt_features({"u": np.eye(5)}, "mine", -10, dataset="d", modality="a", file=str(tmp_path / "mine.py"))
    store = make_store(tmp_path / "small.h5")
    with pytest.raises(SystemExit):
        make_noisy(store, tmp_path, "mine", -10 if additive else None, file=str(tmp_path / "mine.py"))


def test_a_kind_that_writes_into_its_argument_does_not_change_the_callers_features(tmp_path):
    kind = KIND.replace('("mine")', '("mine", additive=False)').replace("(shape, generator)", "(values, generator)")
    (tmp_path / "mine.py").write_text(kind.format(returned="np.multiply(values, 0, out=values)", stated=""))
    clean = np.eye(5, dtype=np.float32)
    made = corrupt_features({"u": clean}, "mine", dataset="d", modality="a", file=str(tmp_path / "mine.py"))
    assert (made.utterances["u"] == 0).all()
    assert (clean == np.eye(5)).all()


@pytest.mark.parametrize(
    ("returned", "stated"), [("shape[2]", ""), ("np.ones(shape)", "mine.power = lambda: (1, 2)[2]")]
)
def test_an_exception_in_a_custom_kind_ends_in_one_message(tmp_path, capsys, returned, stated):
    file = write_kind(tmp_path, returned, stated)
    with pytest.raises(SystemExit):
        make_noisy(make_store(tmp_path / "small.h5"), tmp_path, "mine", file=file)
    line = 7 if returned == "shape[2]" else 8
    message = f"line {line}: IndexError: tuple index out of range. Correct the noise kind."
    assert capsys.readouterr().err == f"error: {file}: failed: {message}\n"


@pytest.mark.parametrize("power", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_power_is_refused(tmp_path, power):
    file = write_kind(tmp_path, "generator.standard_normal(shape)", f"mine.power = lambda: float('{power}')")
    with pytest.raises(ConfigError, match="no power"):
        corrupt_features({"u": np.eye(5)}, "mine", -10, dataset="d", modality="a", file=file)
