"""Noise outside the workflow: function and command reproduce the noisy embeddings of the workflow bit for bit."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import add_noise
import h5py
import numpy as np
import pytest
import torch
from small_store import DIMS, IDS, make_noisy, make_store, read_levels, utterance

from nmer import command
from nmer.errors import ConfigError, DataError
from nmer.noise.corruption import NoiseSource
from nmer.noise.features import corrupt_features

SCRIPT = Path(__file__).parents[2] / "scripts/add_noise.py"


def clean(modality: str) -> dict[str, np.ndarray]:
    return {name: utterance(modality, name) for name in IDS}


@pytest.mark.parametrize("kind", ["gaussian", "impulse", "uniform", "drop_channels"])
def test_the_function_equals_the_noisy_embeddings(tmp_path, kind):
    target = None if kind == "drop_channels" else -10
    store = make_store(tmp_path / "small.h5", standardize=())
    output = make_noisy(store, tmp_path, kind, snr_db=target, seed=3)
    levels = read_levels(output.with_suffix(".csv"))
    for m in DIMS:
        found = corrupt_features(clean(m), kind, target, dataset="small", modality=m, seed=3)
        with h5py.File(output) as file:
            np.testing.assert_array_equal(np.concatenate(list(found.utterances.values())), file[m]["values"])
            if target is not None:
                assert found.measured_db == pytest.approx(file[m].attrs["measured_db"], abs=1e-6)
        assert str(found.steps or "") == levels[m]["T"]


def test_a_standardised_modality_equals_the_noisy_embeddings(tmp_path):
    output = make_noisy(make_store(tmp_path / "small.h5"), tmp_path, seed=1)
    found = corrupt_features(clean("a"), dataset="small", modality="a", seed=1, standardise=True)
    with h5py.File(output) as file:
        np.testing.assert_allclose(np.concatenate(list(found.utterances.values())), file["a"]["values"], rtol=2e-6)
    assert found.variance == pytest.approx(1)
    assert found.steps == 46


def test_a_constant_dimension_gets_noise_in_its_original_units():
    drawn = np.random.default_rng(0).normal(0, 3, (400, 2))
    utterances = {"u": np.stack([drawn[:, 0], np.full(400, 7.0), drawn[:, 1]], axis=1)}
    found = corrupt_features(utterances, "gaussian", -10, dataset="d", modality="a", standardise=True)
    # Two dimensions of variance 1 and one of variance 0.
    assert found.variance == pytest.approx(2 / 3)
    noisy = found.utterances["u"][:, 1].astype(np.float64)
    assert noisy.mean() == pytest.approx(7, abs=5 / np.sqrt(400))
    assert noisy.var() == pytest.approx(1 - found.alpha_bar, rel=5 * np.sqrt(2 / 400))


@pytest.mark.parametrize("kind", ["gaussian", "drop_frames"])
def test_each_draw_has_different_noise(kind):
    utterances = {"u": np.random.default_rng(0).normal(0, 3, (400, 2))}
    draws = [
        corrupt_features(utterances, kind, -10, dataset="d", modality="a", draw=draw).utterances["u"]
        for draw in (0, 1, 1)
    ]
    assert (draws[0] != draws[1]).any(axis=1).mean() > 0.4
    np.testing.assert_array_equal(draws[1], draws[2])


def test_a_standardised_kind_works_in_standardised_units(tmp_path):
    file = tmp_path / "louder.py"
    file.write_text(
        "from nmer.noise.registry import noise_kind\n\n\n"
        '@noise_kind("louder", additive=False, standardised=True)\n'
        "def louder(values, generator):\n    return 2 * values\n"
    )
    values = np.random.default_rng(0).normal(5, 3, (400, 2)).astype(np.float32)
    about = {"dataset": "d", "modality": "a", "file": str(file)}
    found = corrupt_features({"u": values}, "louder", None, standardise=True, **about).utterances["u"]
    mean = values.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found, mean + 2 * (values - mean), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(corrupt_features({"u": values}, "louder", None, **about).utterances["u"], 2 * values)


def test_default_seed_and_draw_equal_those_of_the_workflow():
    utterances = {"u": np.ones((50, 2))}
    about = {"dataset": "d", "modality": "a"}
    default = corrupt_features(utterances, "drop_frames", **about).utterances["u"]
    np.testing.assert_array_equal(
        default, corrupt_features(utterances, "drop_frames", seed=0, draw=0, **about).utterances["u"]
    )
    source = NoiseSource.load("drop_frames", "d")
    np.testing.assert_array_equal(default, source.corrupt(utterances["u"].astype(np.float32), "u", "a"))


def test_a_whole_number_that_equals_the_largest_float16_is_no_infinity():
    values = np.array([[0, 65504], [3, 1]])
    found = corrupt_features({"u": values}, "drop_frames", dataset="d", modality="a", options={"share": 0.0})
    np.testing.assert_array_equal(found.utterances["u"], values)


@pytest.mark.parametrize("values", [np.array([["x"]]), np.ones((2, 2), complex), np.array([[1, None]])])
def test_values_that_are_not_real_numbers_are_refused(values):
    with pytest.raises(DataError, match=r"Utterance 'v': .* instead of real numbers"):
        corrupt_features({"u": np.ones((2, 2)), "v": values}, "gaussian", -10, dataset="d", modality="a")


UNUSABLE = {
    "an array": (np.ones((2, 3, 4)), "Utterances must be a mapping, id -> array (frames, dim); found ndarray."),
    "one axis": ({"u": np.ones(7)}, "'u' is (7,)."),
    "widths": ({"u": np.ones((2, 3)), "v": np.ones((2, 4))}, "'v' is (2, 4), 'u' is (2, 3)."),
    "no width": ({"u": np.ones((2, 0))}, "found no values."),
    "masked": ({"u": np.ma.masked_greater(np.eye(3), 0.5)}, "Utterance 'u': has masked values. Remove or fill them."),
    "gradient": ({"u": torch.ones((2, 3), requires_grad=True)}, "Utterance 'u': cannot be read as an array"),
    "an id of bytes": ({b"u": np.eye(3)}, "Utterance b'u': an id must be text or a whole number. Convert it."),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_what_is_no_mapping_of_ids_to_arrays_is_refused_with_its_shape(fault):
    utterances, expected = UNUSABLE[fault]
    with warnings.catch_warnings(action="error"), pytest.raises(DataError, match=re.escape(expected)):
        corrupt_features(utterances, dataset="d", modality="a")


def test_an_id_that_is_a_number_has_the_noise_of_its_text():
    clean = np.random.default_rng(0).normal(size=(4, 3))
    expected = corrupt_features({"7": clean}, dataset="d", modality="a").utterances["7"]
    for identifier in (7, np.int64(7)):
        found = corrupt_features({identifier: clean}, dataset="d", modality="a").utterances
        np.testing.assert_array_equal(found[identifier], expected)


@pytest.mark.parametrize("target", ["-10", float("nan"), float("inf")])
def test_a_target_that_is_no_finite_number_is_refused(target):
    with pytest.raises(ConfigError, match="The target SNR must be a finite number of decibels"):
        corrupt_features({"u": np.eye(3)}, "gaussian", target, dataset="d", modality="a")


def test_features_that_cannot_be_corrupted_are_refused():
    for utterances in ({}, {"u": np.ones(3)}, {"u": np.ones((2, 3, 4))}):
        with pytest.raises(DataError, match=r"must be arrays \(frames, dim\)"):
            corrupt_features(utterances, dataset="d", modality="a")
    for value in (np.nan, np.inf, 1e300):
        with warnings.catch_warnings(action="error"), pytest.raises(DataError, match="NaN or infinities"):
            corrupt_features({"u": np.full((2, 3), value)}, dataset="d", modality="a")
    with pytest.raises(DataError, match="with the same dim"):
        corrupt_features({"u": np.ones((2, 3)), "v": np.ones((2, 4))}, dataset="d", modality="a")
    with pytest.raises(ConfigError, match="give its target"):
        corrupt_features({"u": np.ones((2, 3))}, "gaussian", None, dataset="d", modality="a")


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("impulse", {"frequenzy": 0.1}, "options of noise kind 'impulse': unknown key 'frequenzy'"),
        ("impulse", {"frequency": 1.5}, "1.5 is too large. Give at most 1.0"),
        ("impulse", {"frequency": -0.1}, "-0.1 is too small. Give at least 0.0"),
        ("drop_frames", {"share": "some"}, "'some' is not like its default 0.5"),
    ],
)
def test_an_unknown_or_invalid_option_of_a_kind_is_refused(kind, options, expected):
    with pytest.raises(ConfigError, match=re.escape(expected)):
        corrupt_features({"u": np.ones((2, 3))}, kind, -10, dataset="d", modality="a", options=options)


@pytest.mark.parametrize("match", ["nominal", "effective"])
def test_noise_without_power_is_refused(match):
    features = {"u": np.arange(6.0).reshape(2, 3)}
    about = {"dataset": "d", "modality": "a", "options": {"frequency": 0.0}, "match": match}
    with pytest.raises(ConfigError, match="'impulse' with these options has no power"):
        corrupt_features(features, "impulse", -10, **about)


def call(*arguments: object) -> None:
    """Run the command in this process, which has loaded its libraries already."""
    with mock.patch.object(sys, "argv", [str(SCRIPT), *map(str, arguments)]):
        command.run(add_noise.main)


def test_a_list_of_ids_that_is_not_text_ends_in_one_message(tmp_path, capfd):
    np.save(tmp_path / "x.npy", np.ones((2, 7, 5)))
    (tmp_path / "ids.txt").write_bytes(b"\xff\n\xfe\n")
    arguments = ("--input", tmp_path / "x.npy", "--modality", "l", "--snr-db", "-20", "--output", tmp_path / "y.npy")
    with pytest.raises(SystemExit):
        call(*arguments, "--ids", tmp_path / "ids.txt")
    assert re.fullmatch(r"error: .*ids\.txt: is not UTF-8 text .*\n", capfd.readouterr().err)
    assert not (tmp_path / "y.npy").exists()


def test_an_id_in_a_list_may_contain_spaces(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 7, 5))
    np.save(tmp_path / "x.npy", values)
    (tmp_path / "ids.txt").write_text("José 1\nJosé 2\n", encoding="utf-8")
    arguments = ("--input", tmp_path / "x.npy", "--modality", "l", "--snr-db", "-20", "--output", tmp_path / "y.npy")
    call(*arguments, "--ids", tmp_path / "ids.txt")
    named = {f"José {number + 1}": values[number] for number in range(2)}
    expected = corrupt_features(named, "gaussian", -20, dataset="own", modality="l").utterances
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), list(expected.values()))


def test_the_command_corrupts_an_array_and_prints_its_calibration(tmp_path):
    values = np.random.default_rng(0).normal(0, 3, (20, 7, 5))
    np.save(tmp_path / "x.npy", values)
    arguments = ("--input", tmp_path / "x.npy", "--modality", "l", "--snr-db", "-20", "--output", tmp_path / "y.npy")
    ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    expected = corrupt_features(
        {str(number): values[number] for number in range(20)}, "gaussian", -20, dataset="own", modality="l"
    )
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), list(expected.utterances.values()))
    printed = dict(line.split(": ") for line in ended.stdout.splitlines())
    assert int(printed["steps"]) == expected.steps
    assert float(printed["measured_db"]) == pytest.approx(expected.measured_db, abs=1e-3)


def test_the_command_accepts_any_real_snr(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(0, 5, size=(8, 40, 6)))
    for level in ("-7.5", "-10.0"):
        call("--input", tmp_path / "x.npy", "--modality", "a", "--output", tmp_path / "y.npy", "--snr-db", level)
        printed = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
        assert float(printed["attained_db"]) == pytest.approx(float(level), abs=0.3)
    with pytest.raises(SystemExit):
        call("--input", tmp_path / "x.npy", "--modality", "a", "--output", tmp_path / "y.npy", "--snr-db", "nan")
    assert "'nan' is not a number of decibels, such as -10 or -7.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--snr-db", -10), "--modality: a .npy file contains one modality"),
        (("--modality", "a"), "Give its target in dB"),
        (("--modality", "a", "--snr-db", -10, "--noise", "gausian"), "Did you mean 'gaussian'"),
        (("--modality", "a", "--snr-db", -10, "--options", '{"width": 2}'), "unknown key 'width'"),
        (("--modality", "a", "--snr-db", -10, "--schedule", '{"shape": "cubic"}'), "unknown schedule 'cubic'"),
        (("--layout", "npy_folder", "--snr-db", -10), "utterances.csv: "),
    ],
)
def test_a_user_error_of_the_command_ends_in_one_message(tmp_path, capsys, arguments, expected):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(4, 3, 2)))
    with pytest.raises(SystemExit) as ending:
        call("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", *arguments)
    message = capsys.readouterr().err
    assert ending.value.code == 1
    assert expected in message
    assert message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("values", [np.ones(4), np.array([["a"]]), np.ones((1, 2, 3, 4))])
def test_the_command_refuses_arrays_that_are_not_utterances(tmp_path, capsys, values):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(SystemExit):
        call("--input", tmp_path / "x.npy", "--modality", "a", "--snr-db", -10, "--output", tmp_path / "y.npy")
    assert f"contains {values.dtype} {values.shape}, not numbers (utterances, steps, dim)" in capsys.readouterr().err


def test_the_command_reads_a_layout_and_writes_the_noisy_embeddings_of_the_workflow(tmp_path, capsys):
    store = make_store(tmp_path / "small.h5", standardize=("a",))
    expected = make_noisy(store, tmp_path / "cache", "impulse", snr_db=-20, seed=4)
    settings = '{"standardize": ["a"], "options": {"protocol": "given"}, "classes": ["no", "yes"]}'
    call(
        *("--input", store, "--layout", "ragged_hdf5", "--layout-settings", settings, "--dataset", "small"),
        *("--noise", "impulse", "--snr-db", -20, "--seed", 4, "--output", tmp_path / "noisy.h5"),
    )
    with h5py.File(tmp_path / "noisy.h5") as found, h5py.File(expected) as cached:
        for m in DIMS:
            np.testing.assert_array_equal(found[m]["values"], cached[m]["values"])
            np.testing.assert_array_equal(np.diff(found[m]["offset"]), [len(utterance(m, name)) for name in IDS])
        assert found["utterance/id"].asstr()[()].tolist() == list(IDS)
    assert capsys.readouterr().out.splitlines()[0].split("\t")[:4] == ["dataset", "modality", "noise", "snr_db"]
