"""The training step: files, settings, checkpoints, and the choice of the learner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pandas as pd
import pytest
import torch
import train
from small_fold import (
    SMALL_NMER,
    builder,
    equal,
    fold_data,
    make_files,
    run_settings,
    run_step,
    train_one,
)

from nmer.plan.settings import TrainingSettings
from nmer.training import job, loop
from nmer.training.models import load_model
from nmer.training.one_by_one import OneByOne
from nmer.training.stacked import Stacked


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


def step_arguments(files, folder, **changes) -> dict:
    arguments = {
        "features": files[0],
        "noisy": files[1],
        "model": folder / "run" / "model.safetensors",
        "history": folder / "run" / "history.csv",
        "checkpoints": folder / "checkpoints",
    }
    return {name: value for name, value in (arguments | changes).items() if value is not None}


MEN = {"dataset": "small", "system": "men", "regime": "clean", "fold": 1, "repeats": 2}
SHORT = {"training": {"constant_epochs": 1, "decay_epochs": 1, "batch_size": 4}}


def test_the_step_writes_weights_history_and_digest_and_removes_checkpoints(files, tmp_path, data):
    run_step(train, MEN | SHORT, **step_arguments(files, tmp_path, noisy=None))
    folder = tmp_path / "run"
    files_of_model = {"model.safetensors", "model.safetensors.sha256", ".model.safetensors.checked"}
    assert {path.name for path in folder.iterdir()} == files_of_model | {"history.csv"}
    history = pd.read_csv(folder / "history.csv")
    assert history[["repeat", "epoch"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert {"learning_rate", "loss", "loss_classification", "val_WA", "val_UA", "val_F1", "val_WF1"} <= set(history)
    for repeat in (1, 2):
        expected, _history = train_one(builder(), data, run_settings(epochs=1, decay_epochs=1), repeat)
        assert equal(load_model(folder / "model.safetensors", repeat), expected)
    assert [path for path in (tmp_path / "checkpoints").rglob("*") if path.suffix == ".pt"] == []
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--check", "--strict", "model.safetensors.sha256"]
        assert subprocess.run(check, cwd=folder, capture_output=True).returncode == 0


STEP = """
import sys, train
from nmer import command
from nmer.training import loop

loop.CHECKPOINT_SECONDS = 0
command.run(train.main)
"""


@pytest.mark.parametrize("sort", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_step_resumes_from_its_checkpoint_to_the_same_bytes(files, tmp_path, sort):
    settings = MEN | {"repeats": 2, "training": {"constant_epochs": 30, "decay_epochs": 0, "batch_size": 4}}
    arguments = step_arguments(files, tmp_path, noisy=None)
    command = [sys.executable, "-c", STEP, "--settings", json.dumps(settings)]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    environment = os.environ | {"PYTHONPATH": str(Path(train.__file__).parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    # During the second repeat.
    while not list((tmp_path / "checkpoints").glob("*/repeat2.pt")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(sort)
    assert process.wait(timeout=30) != 0
    assert not arguments["model"].exists()
    run_step(train, settings, **arguments)
    whole = step_arguments(files, tmp_path / "whole", noisy=None)
    run_step(train, settings, **whole)
    for name in ("model", "history"):
        assert arguments[name].read_bytes() == whole[name].read_bytes()
    assert [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".pt"))] == []


def test_nmer_starts_from_the_teacher_of_the_same_repeat(files, tmp_path, monkeypatch):
    pretraining = {"dataset": "small", "system": "two_tower", "regime": "clean", "fold": 1, "repeats": 2}
    teacher = tmp_path / "teacher" / "model.safetensors"
    arguments = step_arguments(files, tmp_path, noisy=None, model=teacher, history=tmp_path / "teacher" / "history.csv")
    run_step(train, pretraining | SHORT, **arguments)
    seen = []

    def spy(build, data, settings, repeat, teacher, *rest):
        seen.append((repeat, teacher.state_dict(), [parameter.requires_grad for parameter in teacher.parameters()]))
        return OneByOne(build, data, settings, repeat, teacher, *rest)

    monkeypatch.setattr(job, "OneByOne", spy)
    nmer = MEN | SHORT | {"system": "nmer", "regime": "incomplete", "options": SMALL_NMER}
    run_step(train, nmer, **step_arguments(files, tmp_path, teacher=teacher))
    assert [repeat for repeat, _state, _flags in seen] == [1, 2]
    for repeat, state, flags in seen:
        assert equal(dict(state), load_model(teacher, repeat))
        assert not any(flags)


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        ({"epochs": 3}, {}, ["epochs"]),
        ({"training": {"epochs": 3}}, {}, ["epochs"]),
        ({"system": "mne"}, {}, ["mne", "men"]),
        ({"options": {"layers": 2}}, {}, ["men", "layers"]),
        ({"fold": 9}, {}, ["fold 9"]),
        ({"regime": "incomplete"}, {"noisy": None}, ["noisy"]),
        ({"regime": "sx"}, {}, ["sx"]),
        ({"system": "nmer", "regime": "incomplete", "options": SMALL_NMER}, {}, ["teacher"]),
        ({}, {"features": "absent.h5"}, ["absent.h5"]),
        ({}, {"noisy": "absent.h5"}, ["absent.h5"]),
        ({"system": "nmer", "regime": "incomplete", "options": SMALL_NMER}, {"teacher": "absent.st"}, ["absent.st"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_impossible_job_ends_in_one_message(files, tmp_path, capsys, settings, changes, words):
    changes = {name: tmp_path / value if value else None for name, value in changes.items()}
    with pytest.raises(SystemExit) as ending:
        run_step(train, MEN | SHORT | settings, **step_arguments(files, tmp_path, **changes))
    output = capsys.readouterr().err
    assert ending.value.code == 1
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert all(word in output for word in words)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_resumed_only_for_the_same_settings_code_and_inputs(files, tmp_path):
    from types import SimpleNamespace

    other = tmp_path / "other.h5"
    other.write_bytes(b"other")
    other.with_name("other.h5.sha256").write_text("0123  other.h5\n")
    base = {"settings": "{}", "code": "c", "features": files[0], "noisy": [files[1]], "teacher": None}
    changes = [
        {},
        {"settings": '{"repeats": 2}'},
        {"code": "d"},
        {"features": other},
        {"noisy": [other]},
        {"noisy": []},
        {"teacher": other},
    ]
    keys = [train.checkpoint_key(SimpleNamespace(**base | change)) for change in changes]
    assert len(set(keys)) == len(keys)
    assert keys[0] == train.checkpoint_key(SimpleNamespace(**base))


def test_the_default_training_settings_are_the_papers():
    assert TrainingSettings() == run_settings(epochs=30, decay_epochs=30, batch_size=128).training


# ---- choice of the learner


RUN = {"dataset": "small", "system": "mmin", "regime": "incomplete", "fold": 1, "repeats": 2}
STACKED = {"training": SHORT["training"] | {"repeats_together": "always"}}


def run(files, folder, teacher=None, **settings) -> tuple[dict, pd.DataFrame]:
    """Run the step; return the weights of each repeat, and the history."""
    arguments = {"features": files[0], "noisy": files[1]} | ({"teacher": teacher} if teacher else {})
    model, history = folder / "model.safetensors", folder / "history.csv"
    run_step(train, RUN | settings, **arguments, model=model, history=history, checkpoints=folder / "checkpoints")
    assert not list((folder / "checkpoints").rglob("*.pt"))
    return {repeat: load_model(model, repeat) for repeat in (1, 2)}, pd.read_csv(history)


@pytest.fixture
def teacher(files, tmp_path):
    run(files, tmp_path, system="men", regime="clean", **SHORT)
    return tmp_path / "model.safetensors"


def test_the_step_stacks_repeats_if_configured(files, tmp_path, teacher, monkeypatch):
    alone, rows = run(files, tmp_path / "alone", teacher, **SHORT)
    called = []
    monkeypatch.setattr(job, "Stacked", lambda *arguments: called.append(arguments[3]) or Stacked(*arguments))
    found, history = run(files, tmp_path / "together", teacher, **STACKED)
    assert called == [[1, 2]]
    assert history[["repeat", "epoch"]].equals(rows[["repeat", "epoch"]])
    assert history["loss"].to_numpy() == pytest.approx(rows["loss"].to_numpy(), rel=0.01)
    for repeat in (1, 2):
        assert found[repeat].keys() == alone[repeat].keys()


def test_stacked_repeats_save_no_checkpoint_just_before_the_model(files, tmp_path, monkeypatch):
    saved, whole = [], loop.save_checkpoint

    def spy(path, progress, learner=None):
        saved.append(learner)
        whole(path, progress, learner)

    monkeypatch.setattr(loop, "save_checkpoint", spy)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 3600)
    run(files, tmp_path, system="men", regime="clean", **STACKED)
    assert saved == []
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    run(files, tmp_path, system="men", regime="clean", **STACKED)
    assert len(saved) == 2
    assert None not in saved


ASKING = """
from nmer.systems.men import Men
from nmer.systems.registry import system


@system("asking", pretraining="none", regimes=("clean",))
class Asking(Men):
    \"""Reads the value of a tensor, which ``torch.vmap`` rejects.\"""

    def __init__(self, dims, classes, dropout):
        super().__init__(dims, classes, dropout)

    def fuse(self, encodings):
        outputs = super().fuse(encodings)
        return outputs if outputs["logits"].max() > -1e9 else {"logits": -outputs["logits"]}
"""


def test_a_system_that_cannot_be_stacked_is_trained_one_by_one_with_the_reason(files, tmp_path, capsys):
    file = tmp_path / "asking.py"
    file.write_text(ASKING)
    custom = {"system": "asking", "regime": "clean", "file": str(file)}
    alone, _rows = run(files, tmp_path / "alone", **custom, **SHORT)
    assert "warning" not in capsys.readouterr().err
    found, _rows = run(files, tmp_path / "together", **custom, **STACKED)
    assert all(equal(found[repeat], weights) for repeat, weights in alone.items())
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("warning: asking: its repeats are trained one by one, because ")
    assert "vmap" in line


def test_a_rejected_stacked_learner_is_freed_before_training_one_by_one(files, tmp_path, monkeypatch):
    refused, found, whole = [], [], (Stacked.stacking_obstacle, OneByOne.__init__)

    def obstacle(self, try_first):
        refused.extend([weakref.ref(self), *map(weakref.ref, self._parameters.values())])
        return whole[0](self, try_first)

    def init(self, *arguments):
        found.append([own() is None for own in refused])
        whole[1](self, *arguments)

    monkeypatch.setattr(Stacked, "stacking_obstacle", obstacle)
    monkeypatch.setattr(OneByOne, "__init__", init)
    file = tmp_path / "asking.py"
    file.write_text(ASKING)
    run(files, tmp_path, system="asking", regime="clean", file=str(file), **STACKED)
    assert len(found) == 2
    assert len(found[0]) > 1
    assert all(map(all, found))


def test_built_in_systems_are_not_tried_before_stacking(files, tmp_path, monkeypatch):
    tried, whole = [], Stacked.stacking_obstacle

    def record(self, try_first):
        tried.append(try_first)
        return whole(self, False)

    monkeypatch.setattr(Stacked, "stacking_obstacle", record)
    file = tmp_path / "asking.py"
    file.write_text(ASKING.replace("> -1e9", "is not None"))
    run(files, tmp_path / "own", system="men", regime="clean", **STACKED)
    run(files, tmp_path / "custom", system="asking", regime="clean", file=str(file), **STACKED)
    assert tried == [False, True]


TANH = {"options": {"invariant_features": "tanh"}}


@pytest.mark.parametrize(("of_teacher", "configured"), [({}, TANH), (TANH, {}), ({}, {})])
def test_a_teacher_with_other_invariant_features_is_refused(files, tmp_path, capsys, of_teacher, configured):
    run(files, tmp_path, system="shared", regime="clean", **SHORT, **of_teacher)
    step = {"features": files[0], "noisy": files[1], "teacher": tmp_path / "model.safetensors"}
    step |= {"model": tmp_path / "student", "history": tmp_path / "rows", "checkpoints": tmp_path / "checkpoints"}
    with pytest.raises(SystemExit):
        run_step(train, RUN | TANH | {"system": "if_mmin", "teacher": configured}, **step)
    expected = (
        "error: systems.shared.invariant_features: it is 'raw', but systems.if_mmin.invariant_features is 'tanh'."
    )
    assert capsys.readouterr().err.endswith(f"{expected} Set both to the same value.\n")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("choice", "device", "changes", "expected"),
    [
        ("where_faster", "cpu", {}, False),
        ("where_faster", "cuda", {}, True),
        ("always", "cpu", {}, True),
        ("never", "cuda", {}, False),
        ("where_faster", "cuda", {"repeats": 1}, True),
        ("always", "cuda", {"repeats": 1}, True),
        ("always", "cpu", {"repeats": 1}, False),
        ("always", "cuda", {"train_draws": "fresh"}, False),
        ("where_faster", "cuda", {"train_draws": 4}, True),
    ],
)
def test_repeats_are_stacked_on_a_gpu_or_if_configured(choice, device, changes, expected):
    settings = run_settings(**{"repeats": 2, "repeats_together": choice} | changes)
    assert job.is_stacked(settings, torch.device(device)) is expected


def test_the_step_uses_the_configured_precision(files, tmp_path, teacher):
    changed = SHORT["training"] | {"precision": "bfloat16"}
    half, _rows = run(files, tmp_path / "half", teacher, training=changed)
    single, _rows = run(files, tmp_path / "single", teacher, **SHORT)
    assert not torch.equal(half[1]["classifier.0.weight"], single[1]["classifier.0.weight"])
