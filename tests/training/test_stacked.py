"""Repeats trained as one end where each ends alone: weights, histories, selection, faults, resumption."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
import train
from small_fold import CLASSES, DIMS, SMALL_NMER, builder, fold_data, make_files, run_settings, run_step
from torch import nn

from nmer.errors import TrainingError
from nmer.plan.settings import TrainingSettings
from nmer.systems.interface import System
from nmer.training import repeats, together
from nmer.training.loop import make_batch, train_repeat
from nmer.training.models import load_model
from nmer.training.precision import loss_terms, products_in
from nmer.training.together import train_together

REPEATS = [1, 2]
SYSTEMS = {
    "men": (None, "clean", {}),
    "two_tower": (None, "clean", {}),
    "shared": (None, "clean", {}),
    "shared scaled": (None, "clean", {"discrepancy_scaling": True}),
    "shared tanh scaled": (None, "clean", {"invariant_features": "tanh", "discrepancy_scaling": True}),
    "unimodal_l": (None, "all", {}),
    "mctn": (None, "six", {"steps": 2}),
    "mctn hier": (None, "six", {"steps": 2, "form": "hier"}),
    "mmin": ("men", "six", {}),
    "if_mmin": ("shared", "six", {}),
    "nmer": ("two_tower", "six", {}),
    "nmer stacked": ("shared", "all", {"invariance": "stacked"}),
    "nmer_no_vae": ("two_tower", "six", {}),
    "nmer_no_inv": ("two_tower", "six", SMALL_NMER),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


@pytest.fixture
def exact(files, monkeypatch):
    """The data in double precision, in which training amplifies no rounding that could be seen."""
    torch.set_default_dtype(torch.float64)
    data = fold_data(files)
    single = data.sequences

    def double(*given):
        sequences = single(*given)
        return sequences._replace(values=sequences.values.double())

    monkeypatch.setattr(data, "sequences", double)
    yield data
    torch.set_default_dtype(torch.float32)


def teachers(stage: str | None) -> dict[int, System]:
    return {repeat: builder(stage)().requires_grad_(False) for repeat in REPEATS} if stage else {}


class Plain(System):
    """The least of a system that learns."""

    def __init__(self) -> None:
        super().__init__(DIMS, len(CLASSES), 0.0)
        self.head = nn.Linear(sum(DIMS.values()), self.classes)

    def encode(self, modality, sequences):
        return sequences.values.sum(dim=1) / sequences.lengths[:, None]

    def fuse(self, encodings):
        return {"logits": self.head(torch.cat(list(encodings.values()), dim=1))}


class Asking(Plain):
    """Asks what a number is, which cannot be answered for several repeats at once."""

    def fuse(self, encodings):
        outputs = super().fuse(encodings)
        return outputs if outputs["logits"].max() > -1e9 else {"logits": -outputs["logits"]}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_repeat_ends_as_it_does_alone(exact, name):
    stage, regime, options = SYSTEMS[name]
    name = name.split()[0]
    settings = run_settings(name, regime, epochs=1, decay_epochs=1, repeats=2, learning_rate=1e-3, clip_norm=0.1)
    build, own = builder(name, **options), teachers(stage)
    found = train_together(build, exact, settings, REPEATS, own)
    assert list(found) == REPEATS
    for repeat in REPEATS:
        expected, rows = train_repeat(build, exact, settings, repeat, own.get(repeat))
        weights, history = found[repeat]
        assert weights.keys() == expected.keys()
        for parameter, value in expected.items():
            torch.testing.assert_close(weights[parameter], value, rtol=1e-7, atol=1e-9)
        for row, reference in zip(history, rows, strict=True):
            assert row.pop("versions") == reference.pop("versions")
            assert row == pytest.approx(reference, rel=1e-9)


def test_in_single_precision_the_losses_differ_by_rounding_alone(data):
    settings, own = run_settings("nmer", "six", epochs=2, repeats=2), teachers("two_tower")
    found = train_together(builder("nmer"), data, settings, REPEATS, own)
    for repeat in REPEATS:
        _weights, rows = train_repeat(builder("nmer"), data, settings, repeat, own[repeat])
        for row, reference in zip(found[repeat][1], rows, strict=True):
            assert row["loss"] == pytest.approx(reference["loss"], rel=1e-5)


class InterruptionError(Exception):
    """Stands for a job that is killed."""


def test_resumed_repeats_equal_uninterrupted_ones_bit_for_bit(data, tmp_path, monkeypatch):
    settings = run_settings("mmin", "six", epochs=2, decay_epochs=2, repeats=2)
    own, checkpoint = teachers("men"), tmp_path / "new" / "repeats.pt"
    whole = train_together(builder("mmin"), data, settings, REPEATS, own)
    epochs, shown = [], together.shown_in_epoch

    def cut(data, settings, repeats, epoch):
        epochs.append(epoch)
        if epochs.count(2) == 1 and epoch == 2:
            raise InterruptionError
        return shown(data, settings, repeats, epoch)

    monkeypatch.setattr(together, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(together, "shown_in_epoch", cut)
    with pytest.raises(InterruptionError):
        train_together(builder("mmin"), data, settings, REPEATS, own, checkpoint)
    torch.manual_seed(123)
    resumed = train_together(builder("mmin"), data, settings, REPEATS, own, checkpoint)
    # The first batch of the first epoch is what is tried before.
    assert epochs == [0, 0, 1, 2, 0, 2, 3]
    for repeat in REPEATS:
        assert resumed[repeat][1] == whole[repeat][1]
        assert all(torch.equal(resumed[repeat][0][name], value) for name, value in whole[repeat][0].items())


def test_a_loss_that_is_not_finite_names_its_repeat_and_keeps_the_best_weights_of_it(data, tmp_path, monkeypatch):
    settings, checkpoint = run_settings(epochs=4, repeats=2), tmp_path / "progress" / "repeats.pt"
    whole = together.SystemsTogether.train_epoch

    def spoilt(self, *given):
        names, values = whole(self, *given)
        spoilt.calls += 1
        if spoilt.calls == 3:
            values[0, 0, 1] = math.nan
            values[1:] = math.nan  # computed as one, it breaks the other
        return names, values

    spoilt.calls = 0
    monkeypatch.setattr(together.SystemsTogether, "train_epoch", spoilt)
    with pytest.raises(TrainingError, match=r"repeat 2, epoch 3: the loss term 'classification' is nan") as raised:
        train_together(builder(), data, settings, REPEATS, {}, checkpoint)
    kept = tmp_path / "progress" / "repeat2_best.pt"
    assert str(raised.value).endswith(f"{kept}.")
    state = torch.load(kept, weights_only=True)
    expected, _history = train_repeat(builder(), data, run_settings(epochs=2), 2)
    assert [row["repeat"] for row in state["history"]] == [2, 2]
    for name, value in expected.items():
        torch.testing.assert_close(state["best"]["weights"][name], value, rtol=1e-3, atol=1e-4)


def test_a_system_that_cannot_be_computed_for_several_repeats_says_why_and_is_left_alone(data, capsys):
    assert train_together(Asking, data, run_settings(epochs=1, repeats=2), REPEATS, {}) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: men: its repeats are trained one by one, because ")
    assert "vmap" in line


class Keeping(Plain):
    """Keeps a tensor of one batch for the next, which is nothing that could be looked at outside of it."""

    kept = torch.zeros(len(CLASSES))

    def loss(self, outputs, batch):
        self.kept = 0.9 * self.kept + outputs["logits"].mean(dim=0)
        return {"kept": self.kept.square().sum()}


def test_a_system_that_keeps_a_tensor_from_batch_to_batch_is_trained_alone(data, capsys):
    assert train_together(Keeping, data, run_settings(epochs=1, repeats=2), REPEATS, {}) is None
    assert "trained one by one, because " in capsys.readouterr().err


class Faulty(Plain):
    """Has a fault that is not of the framework."""

    def loss(self, outputs, batch):
        return {"classification": outputs["logit"].sum()}


def test_a_fault_of_the_system_itself_is_left_to_its_training_alone(data, capsys):
    settings = run_settings(epochs=1, repeats=2)
    assert train_together(Faulty, data, settings, REPEATS, {}) is None
    assert "because 'logit'" in capsys.readouterr().err
    with pytest.raises(KeyError, match="logit"):
        train_repeat(Faulty, data, settings, 1)


class Counting(Plain):
    """Weighs its loss by the number of batches so far, as annealing does, and has a parameter that is one number."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0
        self.scale = nn.Module()
        self.scale.temperature = nn.Parameter(torch.tensor(2.0))

    def fuse(self, encodings):
        return {"logits": super().fuse(encodings)["logits"] / self.scale.temperature}

    def loss(self, outputs, batch):
        self.batches += 1
        return {name: term / self.batches for name, term in super().loss(outputs, batch).items()}


def test_the_trial_leaves_the_systems_as_they_were(data):
    settings = run_settings(epochs=2, repeats=2, clip_norm=0.01)
    found = train_together(Counting, data, settings, REPEATS, {})
    for repeat in REPEATS:
        weights, rows = train_repeat(Counting, data, settings, repeat)
        for row, reference in zip(found[repeat][1], rows, strict=True):
            assert row["loss"] == pytest.approx(reference["loss"], rel=1e-5)
        torch.testing.assert_close(found[repeat][0], weights, rtol=1e-3, atol=1e-4)


class Remembering(Plain):
    """Keeps what it has seen beside its parameters, as batch normalisation does."""

    def __init__(self) -> None:
        super().__init__()
        self.normalised = nn.BatchNorm1d(sum(DIMS.values()))


def test_a_system_with_buffers_is_trained_alone(data, capsys):
    assert train_together(Remembering, data, run_settings(epochs=1, repeats=2), REPEATS, {}) is None
    assert "because it has buffers" in capsys.readouterr().err


# ---- the step


RUN = {"dataset": "small", "system": "mmin", "regime": "six", "fold": 1, "repeats": 2}
SHORT = {"constant_epochs": 1, "decay_epochs": 1, "batch_size": 4}


def run(files, folder, teacher=None, **settings) -> tuple[dict, pd.DataFrame]:
    """Run the step; returns the weights of each repeat, and the history."""
    given = {"features": files[0], "noisy": files[1]} | ({"teacher": teacher} if teacher else {})
    model, history = folder / "model.safetensors", folder / "history.csv"
    run_step(train, RUN | settings, **given, model=model, history=history, checkpoints=folder / "checkpoints")
    assert not list((folder / "checkpoints").rglob("*.pt"))
    return {repeat: load_model(model, repeat) for repeat in (1, 2)}, pd.read_csv(history)


@pytest.fixture
def teacher(files, tmp_path):
    run(files, tmp_path, system="men", regime="clean", training=SHORT)
    return tmp_path / "model.safetensors"


def test_the_step_trains_repeats_together_where_the_settings_say_so(files, tmp_path, teacher, monkeypatch):
    alone, rows = run(files, tmp_path / "alone", teacher, training=SHORT)
    called, whole = [], repeats.train_together
    monkeypatch.setattr(repeats, "train_together", lambda *given: called.append(given[3]) or whole(*given))
    found, history = run(files, tmp_path / "together", teacher, training=SHORT | {"repeats_together": "always"})
    assert called == [[1, 2]]
    assert history[["repeat", "epoch"]].equals(rows[["repeat", "epoch"]])
    assert history["loss"].to_numpy() == pytest.approx(rows["loss"].to_numpy(), rel=0.01)
    for repeat in (1, 2):
        assert found[repeat].keys() == alone[repeat].keys()


TANH = {"options": {"invariant_features": "tanh"}}


@pytest.mark.parametrize(("taught", "given"), [({}, TANH), (TANH, {}), ({}, {})])
def test_the_step_refuses_a_teacher_whose_file_or_settings_have_other_invariant_features(
    files, tmp_path, capsys, taught, given
):
    run(files, tmp_path, system="shared", regime="clean", training=SHORT, **taught)
    step = {"features": files[0], "noisy": files[1], "teacher": tmp_path / "model.safetensors"}
    step |= {"model": tmp_path / "student", "history": tmp_path / "rows", "checkpoints": tmp_path / "checkpoints"}
    with pytest.raises(SystemExit):
        run_step(train, RUN | TANH | {"system": "if_mmin", "teacher": given}, **step)
    expected = (
        "error: systems.shared.invariant_features: it is 'raw', but systems.if_mmin.invariant_features is 'tanh'."
    )
    assert capsys.readouterr().err == f"{expected} Set both alike.\n"
    assert not (tmp_path / "student").exists()


def test_the_step_trains_one_by_one_what_cannot_be_trained_together(files, tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "train_together", lambda *_given: None)
    plain = {"system": "men", "regime": "clean"}
    alone, _rows = run(files, tmp_path / "alone", **plain, training=SHORT)
    found, _rows = run(files, tmp_path / "together", **plain, training=SHORT | {"repeats_together": "always"})
    for repeat in (1, 2):
        assert all(torch.equal(found[repeat][name], value) for name, value in alone[repeat].items())


@pytest.mark.parametrize(
    ("choice", "device", "changes", "expected"),
    [
        ("where_faster", "cpu", {}, False),
        ("where_faster", "cuda", {}, True),
        ("always", "cpu", {}, True),
        ("never", "cuda", {}, False),
        ("always", "cuda", {"repeats": 1}, False),
        ("always", "cuda", {"train_draws": "fresh"}, False),
        ("where_faster", "cuda", {"train_draws": 4}, True),
    ],
)
def test_repeats_are_trained_together_on_a_gpu_or_where_asked_for(choice, device, changes, expected):
    settings = run_settings(**{"repeats": 2, "repeats_together": choice} | changes)
    assert repeats.as_one(settings, torch.device(device)) is expected


# ---- less precision


def test_in_bfloat16_a_system_computes_with_eight_bits_and_its_losses_with_all(data):
    seen = []

    class Seen(Plain):
        def fuse(self, encodings):
            outputs = super().fuse(encodings)
            seen.append(outputs["logits"].dtype)
            return outputs

        def loss(self, outputs, batch):
            seen.append(outputs["logits"].dtype)
            return super().loss(outputs, batch)

    system = Seen()
    rows = data.splits["train"]
    batch = make_batch(data, rows, torch.zeros(len(rows), 3, dtype=torch.bool))
    (loss,) = loss_terms(system, batch, TrainingSettings(precision="bfloat16")).values()
    loss.backward()
    assert seen == [torch.bfloat16, torch.float32]
    assert {parameter.grad.dtype for parameter in system.parameters()} == {torch.float32}
    (single,) = loss_terms(system, batch, TrainingSettings()).values()
    assert loss.item() == pytest.approx(single.item(), rel=0.05)
    assert loss.item() != single.item()


@pytest.mark.parametrize("name", ["nmer", "mmin", "if_mmin", "mctn"])
def test_every_system_learns_in_bfloat16_and_is_validated_in_single_precision(data, name):
    stage, regime, options = SYSTEMS[name]
    settings = run_settings(name, regime, epochs=2, precision="bfloat16")
    weights, history = train_repeat(builder(name, **options), data, settings, 1, teachers(stage).get(1))
    assert {value.dtype for value in weights.values()} == {torch.float32}
    single = run_settings(name, regime, epochs=2)
    _weights, rows = train_repeat(builder(name, **options), data, single, 1, teachers(stage).get(1))
    assert history[0]["loss"] != rows[0]["loss"]
    assert all(math.isfinite(row["loss"]) for row in history)


def test_tf32_is_for_products_on_a_gpu_and_ends_with_the_training():
    torch.backends.fp32_precision = "ieee"
    try:
        for precision, device, expected in [
            ("tf32", "cuda", "tf32"),
            ("tf32", "cpu", "ieee"),
            ("float32", "cuda", "ieee"),
        ]:
            with products_in(precision, torch.device(device)):
                assert torch.backends.fp32_precision == expected
            assert torch.backends.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = "none"


def test_the_step_hands_the_precision_on(files, tmp_path, teacher):
    changed = SHORT | {"precision": "bfloat16"}
    half, _rows = run(files, tmp_path / "half", teacher, training=changed)
    single, _rows = run(files, tmp_path / "single", teacher, training=SHORT)
    assert not torch.equal(half[1]["classifier.0.weight"], single[1]["classifier.0.weight"])
