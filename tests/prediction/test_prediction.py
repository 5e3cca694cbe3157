"""Prediction needs only a model file and reproduces the predictions of the workflow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import evaluate
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import train
from safetensors.torch import load_file, save_file
from small_fold import CLASSES, DIMS, FOLDS, IDS, make_files, normalised, run_step, utterance

from nmer import Sequences, load_trained
from nmer.cli import main as cli
from nmer.errors import ConfigError, DataError
from nmer.prediction import trained as trained_module
from nmer.prediction.new_features import read_new_features
from nmer.systems.registry import regimes, systems

SETTINGS = {"dataset": "small", "system": "men", "regime": "clean", "fold": 1, "repeats": 2}
PROBABILITIES = [f"prob_{name}" for name in CLASSES]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Features, noisy embeddings, and a model trained by the step."""
    folder = tmp_path_factory.mktemp("prediction")
    features, noisy = make_files(folder)
    model = folder / "model.safetensors"
    training = {"training": {"constant_epochs": 2, "decay_epochs": 0, "batch_size": 4}}
    outputs = {"model": model, "history": folder / "history.csv", "checkpoints": folder / "checkpoints"}
    run_step(train, SETTINGS | training, features=features, **outputs)
    return features, noisy, model


def nmer_command(*arguments: object) -> None:
    with mock.patch.object(sys, "argv", ["nmer", *map(str, arguments)]):
        cli.main()


def failure(capsys, *arguments: object) -> str:
    """Run a command that must fail and return its one-line message."""
    with pytest.raises(SystemExit) as ended:
        nmer_command(*arguments)
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    return captured.err


def test_the_command_reproduces_the_predictions_of_the_workflow_exactly(trained, tmp_path):
    features, noisy, model = trained
    scored = {key: SETTINGS[key] for key in ("dataset", "system", "regime", "repeats")} | {"folds": [1]}
    scored |= {"noise": "gaussian", "snr_db": -10}
    outputs = {"scores": tmp_path / "s.csv", "predictions": tmp_path / "p.csv.gz"}
    run_step(evaluate, scored, features=features, noisy=noisy, models=model, **outputs)
    expected = pd.read_csv(tmp_path / "p.csv.gz", dtype=str)
    expected = expected[expected["condition"] == "avl"].reset_index(drop=True)
    nmer_command("predict", "--model", model, "--features", features, "--split", "test", "--out", tmp_path / "o.csv")
    found = pd.read_csv(tmp_path / "o.csv", dtype=str)
    columns = ["utterance", "repeat", *PROBABILITIES]
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    best = found[PROBABILITIES].astype(float).to_numpy().argmax(axis=1)
    assert found["prediction"].tolist() == [CLASSES[number] for number in best]


def test_probabilities_equal_those_of_each_normalised_utterance_individually(trained):
    model = load_trained(trained[2], repeat=2)
    found = model.predict({m: [utterance(m, number) for number in range(21)] for m in DIMS})
    assert found.shape == (21, len(CLASSES))
    for number in (0, 7, 20):
        with torch.no_grad():
            frames = {m: torch.from_numpy(normalised(m, number, False).astype(np.float32))[None] for m in DIMS}
            encodings = {m: model.system.encode(m, Sequences(f, torch.tensor([f.shape[1]]))) for m, f in frames.items()}
            expected = model.system.fuse(encodings)["logits"][0].softmax(dim=0).numpy()
        np.testing.assert_allclose(found[number], expected, atol=1e-5)


def test_a_folder_of_arrays_and_the_store_give_the_same_predictions(trained, tmp_path):
    for m in DIMS:
        (tmp_path / m).mkdir()
        for number, name in enumerate(IDS):
            np.save(tmp_path / m / f"{name}.npy", utterance(m, number))
    folder = read_new_features(tmp_path, ("a", "v", "l"))
    store = read_new_features(trained[0], ("a", "v", "l"))
    assert folder.ids == sorted(IDS)
    model = load_trained(trained[2])
    by_name = dict(zip(folder.ids, model.predict(folder.features), strict=True))
    for name, expected in zip(store.ids, model.predict(store.features), strict=True):
        np.testing.assert_allclose(by_name[name], expected, atol=1e-5)


def test_a_split_is_read_in_its_stored_order(trained):
    found = read_new_features(trained[0], ("v",), "train", fold=2)
    assert found.ids == [IDS[row] for row in FOLDS[2]["train"]]
    np.testing.assert_array_equal(found.features["v"][0], utterance("v", FOLDS[2]["train"][0]))


def test_values_that_are_not_finite_count_as_zero(trained):
    model = load_trained(trained[2])
    features = {m: [utterance(m, 3)] for m in DIMS}
    broken = {m: [values[0].copy()] for m, values in features.items()}
    features["v"][0][0, 1] = 0
    broken["v"][0][0, 1] = np.nan
    np.testing.assert_array_equal(model.predict(broken), model.predict(features))


def test_no_utterances_give_no_probabilities(trained):
    assert load_trained(trained[2]).predict({m: [] for m in DIMS}).shape == (0, len(CLASSES))


def without(features: dict, modality: str) -> dict:
    return {m: values for m, values in features.items() if m != modality}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: without(f, "v"), "Modality 'v' is missing"),
        (lambda f: f | {"v": [f["v"][0][:, :1]]}, "Utterance 0 has float32 (6, 1) in modality 'v'"),
        (lambda f: f | {"a": [f["a"][0][:0]]}, "in modality 'a'"),
        (lambda f: f | {"a": [f["a"][0].astype(str)]}, "in modality 'a'"),
        (lambda f: f | {"a": f["a"] * 2}, "different numbers of utterances"),
        (lambda f: f | {"a": {"x": f["a"][0]}}, "Modality 'a' is a mapping. Give a list of arrays"),
    ],
)
def test_features_that_do_not_match_the_model_are_refused(trained, change, message):
    features = {m: [utterance(m, 3)] for m in DIMS}
    with pytest.raises(DataError) as error:
        load_trained(trained[2]).predict(change(features))
    assert message in str(error.value)


def foreign(folder: Path) -> Path:
    save_file({"weight": torch.zeros(2)}, folder / "foreign.safetensors")
    return folder / "foreign.safetensors"


def damaged(folder: Path) -> Path:
    (folder / "damaged.safetensors").write_bytes(b"\x08" * 40)
    return folder / "damaged.safetensors"


def described(folder: Path, description: str) -> Path:
    save_file({"repeat1.weight": torch.zeros(2)}, folder / "described.safetensors", {"nmer": description})
    return folder / "described.safetensors"


WRONG = [
    "{",
    "3",
    '{"system": "men", "dims": {"a": "x"}, "classes": ["a", "b"]}',
    '{"system": "men", "dims": [4], "classes": ["a", "b"]}',
    '{"system": ["men"], "dims": {"a": 3, "v": 2, "l": 4}, "classes": ["a", "b"]}',
    '{"system": "men", "dims": {"a": 3, "v": 2, "l": 4}, "classes": 2}',
    '{"system": "men", "dims": {"a": 3, "v": 2, "l": 4}, "classes": ["a", "b"], "options": 1}',
    '{"system": "men", "dims": {"a": 3, "v": 2, "l": 4}, "classes": ["a", "b"]}',
]


@pytest.mark.parametrize("description", WRONG)
def test_a_model_with_an_invalid_description_ends_in_one_message(trained, tmp_path, capsys, description):
    model = described(tmp_path, description)
    message = failure(capsys, "predict", "--model", model, "--features", trained[0], "--out", tmp_path / "o.csv")
    assert str(model) in message


@pytest.mark.parametrize("stage", [name for name in systems.shipped() if not regimes(systems.declaration(name))])
def test_a_pretraining_is_refused_in_one_message(trained, tmp_path, capsys, stage):
    settings = {"system": stage, "dims": DIMS, "classes": list(CLASSES)}
    model, out = described(tmp_path, json.dumps(settings)), tmp_path / "o.csv"
    message = failure(capsys, "predict", "--model", model, "--features", trained[0], "--out", out)
    assert message.startswith(f"error: {model}: '{stage}' is a pretraining that other systems start from.")
    assert not out.exists()


def directory(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize("make", [foreign, damaged, directory, lambda folder: folder / "absent.safetensors"])
def test_a_file_that_is_not_a_model_ends_in_one_message(trained, tmp_path, capsys, make):
    out = tmp_path / "o.csv"
    message = failure(capsys, "predict", "--model", make(tmp_path), "--features", trained[0], "--out", out)
    assert str(make(tmp_path)) in message
    assert not out.exists()


def text_file(folder: Path) -> Path:
    (folder / "text.h5").write_text("no HDF5")
    return folder / "text.h5"


def empty_hdf5(folder: Path) -> Path:
    h5py.File(folder / "empty.h5", "w").close()
    return folder / "empty.h5"


def wrong_offset(folder: Path) -> Path:
    with h5py.File(folder / "offset.h5", "w") as file:
        file["utterance/id"] = ["x"]
        for m, dim in DIMS.items():
            file[f"{m}/values"], file[f"{m}/offset"] = np.zeros((3, dim)), [0, 9]
    return folder / "offset.h5"


def empty_folder(folder: Path) -> Path:
    return folder


def ragged(folder: Path, ids: list[str], **dims: int) -> Path:
    with h5py.File(folder / "ragged.h5", "w") as file:
        file.create_dataset("utterance/id", data=ids, dtype=h5py.string_dtype())
        for m, dim in (DIMS | dims).items():
            file[f"{m}/values"], file[f"{m}/offset"] = np.ones((len(ids), dim)), np.arange(len(ids) + 1)
    return folder / "ragged.h5"


def no_utterance(folder: Path) -> Path:
    return ragged(folder, [])


def repeated_id(folder: Path) -> Path:
    return ragged(folder, ["x", "x"])


def other_width(folder: Path) -> Path:
    return ragged(folder, ["x"], v=9)


def one_modality_missing(folder: Path) -> Path:
    """An utterance that only the last modality has."""
    for m, dim in DIMS.items():
        (folder / m).mkdir()
        np.save(folder / m / "x.npy", np.ones((2, dim)))
    np.save(folder / m / "y.npy", np.ones((2, dim)))
    return folder


UNREADABLE = [text_file, empty_hdf5, wrong_offset, empty_folder, lambda folder: folder / "absent"]
CONTRADICTORY = [no_utterance, repeated_id, other_width, one_modality_missing]


@pytest.mark.parametrize("make", [*UNREADABLE, *CONTRADICTORY])
def test_unreadable_features_end_in_one_message(trained, tmp_path, capsys, make):
    out = tmp_path / "o.csv"
    features = make(tmp_path)
    message = failure(capsys, "predict", "--model", trained[2], "--features", features, "--out", out)
    assert str(features) in message
    assert not out.exists()


def test_a_split_of_a_file_without_folds_is_refused(trained, tmp_path, capsys):
    features, out = ragged(tmp_path, ["x", "y"]), tmp_path / "o.csv"
    arguments = ("--features", features, "--out", out, "--split", "test")
    expected = f"error: {features}: has no fold 1. Leave out --split, or give a feature store.\n"
    assert failure(capsys, "predict", "--model", trained[2], *arguments) == expected


def test_ids_in_messages_may_be_an_array(trained):
    features = {m: [np.ones((2, 9))] for m in DIMS}
    with pytest.raises(DataError, match="Utterance 'x' has"):
        load_trained(trained[2]).predict(features, np.array(["x"]))


def test_values_that_are_not_finite_are_reported(trained, tmp_path, capsys):
    features = ragged(tmp_path, ["x", "y"])
    with h5py.File(features, "r+") as file:
        file["v/values"][1, :2] = [np.nan, np.inf]
    nmer_command("predict", "--model", trained[2], "--features", features, "--out", tmp_path / "o.csv")
    expected = f"warning: {features}: modality 'v': 2 values in 1 utterances are not finite. Counted as 0.\n"
    assert capsys.readouterr().err == expected


def test_features_are_repaired_once_for_all_repeats(trained, tmp_path):
    features = ragged(tmp_path, ["x", "y"])
    with mock.patch.object(trained_module, "repair", wraps=trained_module.repair) as repair:
        nmer_command("predict", "--model", trained[2], "--features", features, "--out", tmp_path / "o.csv")
    assert pd.read_csv(tmp_path / "o.csv")["repeat"].nunique() == SETTINGS["repeats"]
    assert repair.call_count == 2 * len(DIMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--repeats", 3), "holds 2 repeats, counted from 1, and no repeat 3"),
        (("--repeats", 1, 1), "--repeats"),
        (("--split", "tests"), "Did you mean 'test'?"),
        (("--split", "test", "--fold", 9), "has no fold 9. Give --fold one of 1, 2."),
        (("--fold", 2), "--fold: applies only to a split"),
    ],
)
def test_an_impossible_choice_ends_in_one_message(trained, tmp_path, capsys, arguments, message):
    out = tmp_path / "o.csv"
    assert message in failure(
        capsys, "predict", "--model", trained[2], "--features", trained[0], "--out", out, *arguments
    )
    assert not out.exists()


def test_a_python_file_named_in_a_model_is_not_executed(trained, tmp_path):
    from nmer.training.models import load_settings, save_models

    states = {1: {key.removeprefix("repeat1."): value for key, value in load_file(trained[2]).items()}}
    (tmp_path / "own.py").write_text("raise SystemExit('executed')")
    path = tmp_path / "model.safetensors"
    save_models(path, states, load_settings(trained[2]) | {"file": str(tmp_path / "own.py")})
    with pytest.raises(ConfigError, match=r"own\.py"):
        load_trained(path)


def test_the_page_on_the_library_trains_a_system_on_noisy_features():
    page = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    loop = page.split("```python\n")[1].split("```")[0]
    assert len([line for line in loop.splitlines() if line.strip() and not line.startswith("#")]) <= 20
    torch.manual_seed(0)
    names: dict = {}
    exec(loop, names)  # the page's own code
    first = -np.log(0.5)
    assert float(names["loss"].detach()) < 0.6 * first
