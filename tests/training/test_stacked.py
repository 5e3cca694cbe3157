"""Stacked repeats equal repeats trained individually: weights, histories, selection, errors, resuming."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from small_fold import (
    CLASSES,
    DIMS,
    FOLDS,
    SMALL_NMER,
    SYSTEMS,
    FakeCaptures,
    Plain,
    RestorableGenerator,
    builder,
    equal,
    fold_data,
    make_files,
    make_teachers,
    run_settings,
    train_one,
    train_stacked,
    utterance,
)
from torch import nn

from nmer.errors import TrainingError
from nmer.systems.blocks.recurrence import lstm_maxima
from nmer.systems.interface import System
from nmer.systems.registry import pretraining, regimes, systems
from nmer.training import loop, stacked
from nmer.training.data import FoldData
from nmer.training.graphs import Graphs
from nmer.training.stacked import Clipping, Stacked

REPEATS = [1, 2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


@pytest.fixture
def exact(files, monkeypatch):
    """The data in double precision, where the amplification of rounding stays invisible."""
    torch.set_default_dtype(torch.float64)
    data = fold_data(files)
    single = data.sequences

    def double(*arguments):
        sequences = single(*arguments)
        return sequences._replace(values=sequences.values.double())

    monkeypatch.setattr(data, "sequences", double)
    yield data
    torch.set_default_dtype(torch.float32)


class Asking(Plain):
    """Reads the value of a tensor, which ``torch.vmap`` rejects."""

    def fuse(self, encodings):
        outputs = super().fuse(encodings)
        return outputs if outputs["logits"].max() > -1e9 else {"logits": -outputs["logits"]}


WIDE = ("emt_dlfr", "lnln", "momke", "experts")
"""Systems with Transformers over frames, whose steps take ten times as long."""


QUICK = ("men", "two_tower", "nmer", "mmin", "mctn")
"""Cases without wide systems and variants, one per way of using teachers, reconstructions and losses."""


def slow_unless(quick, names):
    """Mark all other cases as slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", slow_unless(QUICK, SYSTEMS))
def test_every_stacked_repeat_equals_the_repeat_trained_individually(exact, name):
    stage, regime, options = SYSTEMS[name]
    name = name.split()[0]
    settings = run_settings(name, regime, epochs=1, decay_epochs=1, repeats=2, learning_rate=1e-3, clip_norm=0.1)
    build, own = builder(name, **options), make_teachers(stage, REPEATS)
    found = train_stacked(build, exact, settings, REPEATS, own)
    assert list(found) == REPEATS
    for repeat in REPEATS:
        expected, rows = train_one(build, exact, settings, repeat, own.get(repeat))
        weights, history = found[repeat]
        assert weights.keys() == expected.keys()
        for parameter, value in expected.items():
            torch.testing.assert_close(weights[parameter], value, rtol=1e-7, atol=1e-9)
        for row, reference in zip(history, rows, strict=True):
            assert row.pop("versions") == reference.pop("versions")
            assert row == pytest.approx(reference, rel=1e-9)


def test_in_single_precision_losses_differ_by_rounding_only(data):
    settings, own = run_settings("nmer", "incomplete", epochs=2, repeats=2), make_teachers("two_tower", REPEATS)
    found = train_stacked(builder("nmer"), data, settings, REPEATS, own)
    for repeat in REPEATS:
        _weights, rows = train_one(builder("nmer"), data, settings, repeat, own[repeat])
        for row, reference in zip(found[repeat][1], rows, strict=True):
            assert row["loss"] == pytest.approx(reference["loss"], rel=1e-5)


class InterruptionError(Exception):
    """Simulates a killed job."""


def test_resumed_repeats_equal_uninterrupted_ones_bit_for_bit(data, tmp_path, monkeypatch):
    settings = run_settings("mmin", "incomplete", epochs=2, decay_epochs=2, repeats=2)
    own, checkpoint = make_teachers("men", REPEATS), tmp_path / "new" / "repeats.pt"
    whole = train_stacked(builder("mmin"), data, settings, REPEATS, own)
    epochs, one_epoch = [], Stacked.train_epoch

    def cut(self, epoch, rate):
        epochs.append(epoch)
        if epochs == [0, 1, 2]:
            raise InterruptionError
        return one_epoch(self, epoch, rate)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(Stacked, "train_epoch", cut)
    with pytest.raises(InterruptionError):
        train_stacked(builder("mmin"), data, settings, REPEATS, own, checkpoint)
    torch.manual_seed(123)
    resumed = train_stacked(builder("mmin"), data, settings, REPEATS, own, checkpoint)
    assert epochs == [0, 1, 2, 2, 3]
    for repeat in REPEATS:
        assert resumed[repeat][1] == whole[repeat][1]
        assert all(torch.equal(resumed[repeat][0][name], value) for name, value in whole[repeat][0].items())


def test_every_stacked_repeat_stops_early_where_it_does_individually(data, tmp_path, monkeypatch):
    settings, checkpoint = run_settings(epochs=9, repeats=2, patience=2), tmp_path / "repeats.pt"
    values = {1: [0.5, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], 2: [0.1, 0.2, 0.6, 0.6, 0.6, 0.9, 0.9, 0.9, 0.9]}
    epochs, weights, one_epoch = [], {}, Stacked.train_epoch

    def counted(self, epoch, rate):
        epochs.append(epoch)
        if epochs == [0, 1, 2, 3]:
            raise InterruptionError
        losses = one_epoch(self, epoch, rate)
        weights[epoch] = [self.weights(repeat) for repeat in REPEATS]
        if epoch == 4:
            losses.values[0, 0, 0] = math.nan  # of the repeat that has stopped
        return losses

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(Stacked, "train_epoch", counted)
    monkeypatch.setattr(
        Stacked, "validate", lambda _self: [{"val_UA": values[repeat][epochs[-1]]} for repeat in REPEATS]
    )
    with pytest.raises(InterruptionError):
        train_stacked(Plain, data, settings, REPEATS, {}, checkpoint)
    found = train_stacked(Plain, data, settings, REPEATS, {}, checkpoint)
    assert epochs == [0, 1, 2, 3, 3, 4]
    assert [row["epoch"] for row in found[1][1]] == [1, 2, 3]
    assert [row["epoch"] for row in found[2][1]] == [1, 2, 3, 4, 5]
    assert equal(found[1][0], weights[0][0])
    assert equal(found[2][0], weights[2][1])


def test_a_loss_that_is_not_finite_names_its_repeat_and_saves_its_best_weights(data, tmp_path, monkeypatch):
    settings, checkpoint = run_settings(epochs=4, repeats=2), tmp_path / "progress" / "repeats.pt"
    whole, epochs = Stacked.train_epoch, []

    def spoilt(self, *arguments):
        losses = whole(self, *arguments)
        epochs.append(losses)
        if len(epochs) == 3:
            losses.values[0, 0, 1] = math.nan
            losses.values[1:] = math.nan  # stacked, it may affect the other repeat
        return losses

    monkeypatch.setattr(Stacked, "train_epoch", spoilt)
    with pytest.raises(TrainingError, match=r"repeat 2, epoch 3: the loss term 'classification' is nan") as raised:
        train_stacked(builder(), data, settings, REPEATS, {}, checkpoint)
    kept = tmp_path / "progress" / "repeat2_best.pt"
    assert str(raised.value).endswith(f"{kept}.")
    state = torch.load(kept, weights_only=True)
    expected, _history = train_one(builder(), data, run_settings(epochs=2), 2)
    assert [row["repeat"] for row in state["history"]] == [2, 2]
    for name, value in expected.items():
        torch.testing.assert_close(state["best"]["weights"][name], value, rtol=1e-3, atol=1e-4)


def refusal(system: type[System], data) -> str:
    """Return why a custom system cannot be stacked."""
    return Stacked(system, data, run_settings(epochs=1, repeats=2), REPEATS, {}).stacking_obstacle(try_first=True)


def test_a_system_that_vmap_rejects_cannot_be_stacked(data):
    assert "vmap" in refusal(Asking, data)


class Keeping(Plain):
    """Keeps a tensor of one batch for the next."""

    kept = torch.zeros(len(CLASSES))

    def loss(self, outputs, batch):
        self.kept = 0.9 * self.kept + outputs["logits"].mean(dim=0)
        return {"kept": self.kept.square().sum()}


def test_a_system_that_keeps_a_tensor_between_batches_cannot_be_stacked(data):
    assert refusal(Keeping, data)


class Faulty(Plain):
    """Raises an error in its loss."""

    def loss(self, outputs, batch):
        return {"classification": outputs["logit"].sum()}


def test_an_error_of_the_system_is_reported_as_an_obstacle(data):
    assert refusal(Faulty, data) == "'logit'"
    with pytest.raises(KeyError, match="logit"):
        train_one(Faulty, data, run_settings(epochs=1))


class Sharing(Plain):
    """Has a layer under two names, and its weight in another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.other = self.head, nn.Linear(sum(DIMS.values()), self.classes)
        self.other.weight = self.head.weight


def test_a_system_whose_layers_share_parameters_cannot_be_stacked(data):
    assert refusal(Sharing, data) == "several of its layers share parameters."


class ReadingPadding(System):
    """Gives its LSTMs every frame of a padded batch, regardless of the lengths, as after interpolation."""

    def __init__(self) -> None:
        super().__init__(DIMS, len(CLASSES), 0.0)
        self.lstms = nn.ModuleDict({m: nn.LSTM(dim, 5, batch_first=True) for m, dim in DIMS.items()})
        self.head = nn.Linear(15, self.classes)

    def encode(self, modality, sequences):
        to_longest = torch.full_like(sequences.lengths, sequences.values.shape[1])
        return lstm_maxima([self.lstms[modality]], sequences._replace(lengths=to_longest))[0]

    def fuse(self, encodings):
        return {"logits": self.head(torch.cat(list(encodings.values()), dim=1))}


def test_a_system_that_reads_more_frames_than_its_batches_have_is_stacked_without_bounds(data):
    settings = run_settings(epochs=1, repeats=2)
    learner = Stacked(ReadingPadding, data, settings, REPEATS, {})
    assert learner.stacking_obstacle(try_first=True) == ""
    rows = [row for _weights, history in loop.fit(learner, settings).values() for row in history]
    assert all(math.isfinite(row["loss"]) for row in rows)
    untried = Stacked(ReadingPadding, data, settings, REPEATS, {})
    with pytest.raises(RuntimeError, match="more frames than its step counts state"):
        loop.fit(untried, settings)


class Counting(Plain):
    """Weights its loss by the number of batches so far, as in annealing, and has a scalar parameter."""

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


def test_the_trial_does_not_change_the_systems(data):
    settings = run_settings(epochs=2, repeats=2, clip_norm=0.01)
    learner = Stacked(Counting, data, settings, REPEATS, {})
    assert learner.stacking_obstacle(try_first=True) == ""
    found = loop.fit(learner, settings)
    for repeat in REPEATS:
        weights, rows = train_one(Counting, data, settings, repeat)
        for row, reference in zip(found[repeat][1], rows, strict=True):
            assert row["loss"] == pytest.approx(reference["loss"], rel=1e-5)
        torch.testing.assert_close(found[repeat][0], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("parts", [("one", "two"), ("one",), ()], ids=["all", "one clipped", "none clipped"])
@pytest.mark.parametrize("value", [1.0, 0.0, float("inf"), float("nan")])
def test_gradients_are_clipped_as_by_the_framework(parts, value):
    """Also those that are not finite, which must not reach other sub-networks or repeats."""
    alone = [nn.ModuleDict({name: nn.Linear(3, 2) for name in ("one", "two")}) for _ in REPEATS]
    for number, system in enumerate(alone):
        system.subnetworks = lambda system=system: [system[part] for part in parts]
        for parameter in system.parameters():
            parameter.grad = torch.randn_like(parameter)
        system["one"].weight.grad[0] *= 1.0 if number else value
        system["two"].bias.grad = None
    together = {}
    for name, *repeats in zip(dict(alone[0].named_parameters()), *(own.parameters() for own in alone), strict=True):
        together[name] = nn.Parameter(torch.stack([own.detach() for own in repeats]))
        if repeats[0].grad is not None:
            together[name].grad = torch.stack([own.grad for own in repeats])
    Clipping(alone[0], 0.5).clip(together)
    for number, system in enumerate(alone):
        for part in system.subnetworks():
            nn.utils.clip_grad_norm_(part.parameters(), 0.5)
        for name, parameter in system.named_parameters():
            if parameter.grad is None:
                assert together[name].grad is None
            else:
                torch.testing.assert_close(together[name].grad[number], parameter.grad, equal_nan=True)


class Remembering(Plain):
    """Has a buffer, as in batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.normalised = nn.BatchNorm1d(sum(DIMS.values()))


def test_a_system_with_buffers_cannot_be_stacked(data):
    assert refusal(Remembering, data).startswith("it has buffers")


class Branching(Plain):
    """Can be stacked in training, but reads the value of a tensor in evaluation."""

    def fuse(self, encodings):
        outputs = super().fuse(encodings)
        if not self.training and outputs["logits"].max() > 1e9:
            outputs["logits"] = -outputs["logits"]
        return outputs


def test_a_system_whose_evaluation_vmap_rejects_cannot_be_stacked(data):
    assert "vmap" in refusal(Branching, data)


def variants(name: str) -> list[dict]:
    """Return small default options of a system, and variants with every other choice of each option."""
    declaration = systems.declaration(name)
    small = {
        option: value
        for option, value in (SMALL_NMER | {"steps": 2, "depth": 1, "fusion_layers": 1}).items()
        if option in declaration.options
    }
    choices = dict(declaration.attributes.get("choices", {}))
    choices |= {option: (True, False) for option, value in declaration.options.items() if isinstance(value, bool)}
    choices.pop("heads", None)
    return [small, *(small | {option: value} for option, values in choices.items() for value in values)]


@pytest.mark.parametrize("name", slow_unless(set(systems.shipped()) - set(WIDE), systems.shipped()))
def test_every_built_in_system_can_be_stacked_and_captured(data, name):
    declaration = systems.declaration(name)
    regime = next(iter(regimes(declaration)), "clean")
    for options in variants(name):
        own = make_teachers(pretraining(declaration, options), REPEATS)
        learner = Stacked(builder(name, **options), data, run_settings(name, regime, repeats=2), REPEATS, own)
        reasons = []
        learner._graphs.disable = reasons.append
        assert learner.stacking_obstacle(try_first=True) == ""
        assert reasons == []


def test_padding_of_a_batch_does_not_depend_on_earlier_batches(data, monkeypatch):
    seen, whole = [], stacked.make_batch

    def spy(*arguments):
        seen.append((len(arguments[1]), arguments[6]))
        return whole(*arguments)

    monkeypatch.setattr(stacked, "make_batch", spy)
    learner = Stacked(Plain, data, run_settings(repeats=2), REPEATS, {})
    for epoch in (2, 0, 2):
        learner.train_epoch(epoch, 1e-3)
    assert seen[:3] == seen[6:]
    everything = {m: max(len(utterance(m, number)) for number in FOLDS[1]["train"]) for m in DIMS}
    # The last, smaller batch has one length only.
    assert seen[2] == (2, everything)
    assert all(frames[m] == everything[m] for _count, frames in seen for m in "vl" if m != max(everything))


# ---- graphs


@pytest.fixture
def captures(monkeypatch):
    """Let stacked repeats capture on a CPU, where a replay runs the captured step again."""

    class Capturing(Graphs):
        def __init__(self, device, generators, enabled, label) -> None:
            super().__init__(device, generators, enabled, label)
            self.capturing = enabled

    monkeypatch.setattr(torch, "Generator", lambda _device="cpu": RestorableGenerator())
    monkeypatch.setattr(stacked, "Graphs", Capturing)
    return FakeCaptures(monkeypatch)


def equal_results(found, expected) -> bool:
    return all(
        equal(found[repeat][0], weights) and found[repeat][1] == rows for repeat, (weights, rows) in expected.items()
    )


@pytest.mark.parametrize("name", slow_unless(["men"], ["men", "nmer"]))
def test_replayed_steps_and_validation_equal_normal_ones(data, captures, name):
    stage, regime, options = SYSTEMS[name]
    own, settings = make_teachers(stage, REPEATS), {"epochs": 3, "repeats": 2, "decay_epochs": 1}
    build = builder(name, **options)
    plain = train_stacked(build, data, run_settings(name, regime, **settings, graphs="never"), REPEATS, own)
    assert captures.captured == captures.replays == 0
    found = train_stacked(build, data, run_settings(name, regime, **settings), REPEATS, own)
    assert equal_results(found, plain)
    # Four epochs of three steps and a validation; some are first calls.
    assert 2 <= captures.captured <= captures.replays < 16


def test_a_step_that_cannot_be_captured_runs_normally_with_the_same_draws(data, captures, capsys):
    settings = {"epochs": 3, "repeats": 2}
    plain = train_stacked(builder(), data, run_settings(**settings, graphs="never"), REPEATS, {})
    captures.fail_with = RuntimeError("operation not permitted when stream is capturing")
    assert equal_results(train_stacked(builder(), data, run_settings(**settings), REPEATS, {}), plain)
    assert captures.captured == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")]
    assert line.startswith("warning: men: runs without CUDA graphs, because operation not permitted")


def test_resumed_repeats_capture_again_and_give_the_same_bits(data, captures, tmp_path, monkeypatch):
    settings = run_settings(epochs=4, repeats=2)
    whole = train_stacked(builder(), data, settings, REPEATS, {})
    one_epoch, epochs = Stacked.train_epoch, []

    def cut(self, epoch, rate):
        epochs.append(epoch)
        if epochs == [0, 1, 2, 3]:
            raise InterruptionError
        return one_epoch(self, epoch, rate)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(Stacked, "train_epoch", cut)
    with pytest.raises(InterruptionError):
        train_stacked(builder(), data, settings, REPEATS, {}, tmp_path / "repeats.pt")
    assert equal_results(train_stacked(builder(), data, settings, REPEATS, {}, tmp_path / "repeats.pt"), whole)


def test_a_system_that_counts_its_batches_is_not_captured(data, captures, capsys):
    learner = Stacked(Counting, data, run_settings(epochs=3, repeats=2), REPEATS, {})
    assert learner.stacking_obstacle(try_first=True) == ""
    loop.fit(learner, run_settings(epochs=3, repeats=2))
    assert captures.captured == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")]
    assert line.startswith("warning: men: runs without CUDA graphs, because a step changes its attribute 'batches'")


class Forgetting(Plain):
    """Computes in the encoding of one modality what that of others reads, and removes it when it fuses them."""

    kept = None

    def encode(self, modality, sequences):
        self.kept = self.head.weight.norm() if self.kept is None else self.kept
        return super().encode(modality, sequences) * self.kept

    def fuse(self, encodings):
        self.kept = None
        return super().fuse(encodings)


def test_a_system_that_keeps_a_tensor_between_modalities_is_not_captured(data, captures, capsys):
    settings = run_settings(epochs=2, repeats=2)
    learner = Stacked(Forgetting, data, settings, REPEATS, {})
    assert learner.stacking_obstacle(try_first=True) == ""
    loop.fit(learner, settings)
    assert captures.captured == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")]
    assert "a step changes its attribute 'kept'" in line


class Selective(Plain):
    """Uses one of its layers for a single utterance only."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = nn.Linear(self.classes, 1)

    def loss(self, outputs, batch):
        terms = super().loss(outputs, batch)
        if len(batch.labels) == 1:
            terms["classification"] = terms["classification"] + self.alone(outputs["logits"]).square().mean()
        return terms


def test_no_capture_creates_the_state_of_a_parameter(data, captures, monkeypatch):
    learner = Stacked(Selective, data, run_settings(repeats=2), REPEATS, {})
    learner._optimiser.param_groups[0]["capturable"] = True
    capturing, created = [], []

    class Replayed(NamedTuple):
        inputs: tuple[torch.Tensor, ...]
        output: torch.Tensor

        @property
        def graph(self):
            return self

        def replay(self) -> None:
            """The capture has already computed the step."""

    def capture(_graphs, function, inputs):
        known = len(learner._optimiser.state)
        capturing.append(True)
        try:
            output = function(*inputs)
        finally:
            capturing.pop()
        created.append(len(learner._optimiser.state) - known)
        return Replayed(inputs, output)

    monkeypatch.setattr(Graphs, "_capture", capture)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: bool(capturing))
    # The first epoch ends with a batch of one utterance, which runs normally.
    for epoch in range(2):
        learner.train_epoch(epoch, 1e-3)
    assert len(learner._optimiser.state) == len(learner._parameters)
    assert len(created) >= 2
    assert not any(created)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
@pytest.mark.parametrize("name", SYSTEMS)
def test_replayed_epochs_equal_normal_ones_on_the_same_device(files, name, capsys):
    device = torch.device("cuda")
    data = FoldData(*files, 1, device)
    stage, regime, options = SYSTEMS[name]
    name = name.split()[0]
    own = {repeat: teacher.to(device) for repeat, teacher in make_teachers(stage, REPEATS).items()}
    found = {}
    for graphs in ("never", "where_faster"):
        settings = run_settings(name, regime, epochs=4, decay_epochs=2, repeats=2, graphs=graphs)
        learner = Stacked(builder(name, **options), data, settings, REPEATS, own)
        found[graphs] = loop.fit(learner, settings)
        assert len(learner._graphs._captured) >= (0 if graphs == "never" else 2)
    assert [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")] == []
    for repeat, (weights, rows) in found["where_faster"].items():
        expected, references = found["never"][repeat]
        for row, reference in zip(rows, references, strict=True):
            assert row["loss"] == pytest.approx(reference["loss"], rel=1e-4)
        assert rows[0] == references[0]
        for parameter, value in expected.items():
            torch.testing.assert_close(weights[parameter], value, rtol=1e-3, atol=1e-4)
