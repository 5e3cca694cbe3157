"""The cost of training as counts: operations, encodings, teacher passes, copies of the data."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from small_fold import (
    CPU,
    DIMS,
    FOLDS,
    IDS,
    builder,
    fold_data,
    make_files,
    make_teachers,
    run_settings,
    train_one,
    train_stacked,
)
from torch.utils.flop_counter import FlopCounterMode

from nmer.corpora.store import FeatureStore
from nmer.plan import conditions
from nmer.systems.blocks.encoders import HIDDEN
from nmer.training import one_by_one, stacked
from nmer.training.batches import make_batch
from nmer.training.data import FoldData
from nmer.training.one_by_one import OneByOne
from nmer.training.stacked import Stacked

GATES = 4 * HIDDEN


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("operations"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


class Counted:
    """Counts encoded utterances per modality."""

    def __init__(self, system, monkeypatch) -> None:
        self.encoded: Counter = Counter()
        whole = system.encode

        def encode(modality, sequences):
            self.encoded[modality] += len(sequences.lengths)
            return whole(modality, sequences)

        monkeypatch.setattr(system, "encode", encode)


def lstm_operations(frames: int, utterances: int, dim: int) -> int:
    """Return the operations, forward and backward, of existing frames.

    The first frame of an utterance has no previous state, and features need no gradient.
    """
    products = [frames * dim, (frames - utterances) * HIDDEN, frames * dim, frames * HIDDEN]
    products.append((frames - utterances) * HIDDEN)
    return 2 * GATES * sum(products)


def text_operations(tokens: int, utterances: int, dim: int) -> int:
    """Return the forward operations. The gradient of a filter is a sum over windows, not a matrix product."""
    return 2 * HIDDEN * utterances * sum((tokens - window + 1) * window * dim for window in (3, 4, 5))


def linear_operations(utterances: int, *widths: int) -> int:
    """Return the operations of linear layers, forward and backward including the gradient of the input."""
    return 3 * 2 * utterances * sum(one * other for one, other in pairwise(widths))


@pytest.mark.parametrize(("name", "towers"), [("men", 1), ("two_tower", 2)])
def test_a_training_step_multiplies_existing_frames_only(data, name, towers):
    rows = data.splits["train"]
    batch = make_batch(data, rows, torch.zeros(len(rows), 3, dtype=torch.bool))
    system = builder(name)().train()

    def product(_added, first, second, **_arguments) -> int:
        return 2 * math.prod(first) * second[-1]

    places = {torch.ops.aten.addmm_: product, torch.ops.aten.baddbmm_: product}
    with FlopCounterMode(display=False, custom_mapping=places) as counter:
        sum(system.loss(system(batch), batch).values()).backward()
    count, frames = len(rows), {m: int(batch.observed[m].lengths.sum()) for m in DIMS}
    tower = lstm_operations(frames["a"], count, DIMS["a"]) + lstm_operations(frames["v"], count, DIMS["v"])
    tower += text_operations(6, count, DIMS["l"]) + linear_operations(count, 384, 128)
    head = linear_operations(count, 384 * towers, 128, 128, 3)
    invariance = linear_operations(3 * count, 128, 128, 128) if towers == 2 else 0
    assert counter.get_total_flops() == towers * tower + head + invariance


@pytest.mark.parametrize("regime", ["incomplete", "all_noisy", "clean"])
def test_validation_encodes_every_state_of_an_utterance_once(data, monkeypatch, regime):
    system = builder()()
    counted = Counted(system, monkeypatch)
    OneByOne(lambda: system, data, run_settings(regime=regime), 1).validate()
    assert counted.encoded == dict.fromkeys(DIMS, len(FOLDS[1]["val"]) * (2 if regime == "incomplete" else 1))


def test_validation_under_one_condition_encodes_every_utterance_once(data, monkeypatch):
    system = builder()()
    settings = run_settings(regime="incomplete", evaluation="one_condition")
    counted = Counted(system, monkeypatch)
    (found,) = OneByOne(lambda: system, data, settings, 1).validate()
    assert counted.encoded == dict.fromkeys(DIMS, len(FOLDS[1]["val"]))
    # The scores equal those of a batch with every utterance under its condition.
    rows = data.splits["val"]
    flags = [conditions.noisy_flags(conditions.fixed_condition("small", IDS[row])) for row in rows.tolist()]
    with torch.no_grad():
        guesses = system.eval()(make_batch(data, rows, torch.from_numpy(np.stack(flags))))["logits"].argmax(dim=1)
    assert found["val_WA"] == pytest.approx(float((guesses == data.labels[rows]).double().mean()))


@pytest.mark.parametrize("regime", ["incomplete", "all_noisy", "clean"])
def test_validation_of_stacked_repeats_encodes_for_all_repeats_at_once(data, monkeypatch, regime):
    learner = Stacked(builder(), data, run_settings(regime=regime, repeats=2), [1, 2], {})
    counted = Counted(learner._systems[0], monkeypatch)
    learner.validate()
    assert counted.encoded == dict.fromkeys(DIMS, len(FOLDS[1]["val"]) * (2 if regime == "incomplete" else 1))


@pytest.mark.parametrize(("name", "stage", "states"), [("nmer", "two_tower", 1), ("mmin", "men", 2)])
def test_a_teacher_encodes_each_training_utterance_once_and_no_other(data, monkeypatch, name, stage, states):
    teacher = builder(stage)().requires_grad_(False)
    counted = Counted(teacher, monkeypatch)
    train_one(builder(name), data, run_settings(name, "incomplete", epochs=3), 1, teacher)
    # NMER's targets are clean; MMIN's reversed triples need both states.
    assert counted.encoded == dict.fromkeys(DIMS, states * len(FOLDS[1]["train"]))
    # The same holds for the teachers of stacked repeats.
    own = make_teachers(stage, [1, 2])
    counts = [Counted(teacher, monkeypatch) for teacher in own.values()]
    train_stacked(builder(name), data, run_settings(name, "incomplete", epochs=3, repeats=2), [1, 2], own)
    assert [each.encoded for each in counts] == [counted.encoded] * 2


def test_the_first_step_needs_only_the_targets_of_its_batch(data, monkeypatch):
    teacher = builder("two_tower")().requires_grad_(False)
    counted = Counted(teacher, monkeypatch)
    student, seen = builder("nmer")(), []
    whole = student.loss
    monkeypatch.setattr(student, "loss", lambda *arguments: (whole(*arguments), seen.append(dict(counted.encoded)))[0])
    train_one(lambda: student, data, run_settings("nmer", "incomplete", epochs=1, batch_size=4), 1, teacher)
    assert seen[0] == dict.fromkeys(DIMS, 4)


def test_a_fold_keeps_no_copy_of_the_data_in_memory(files, tmp_path):
    # The same corpus with one modality that is far larger than everything else.
    features, noisy = tmp_path / "features.h5", tmp_path / "noisy.h5"
    for source, target in zip(files, (features, noisy), strict=True):
        target.write_bytes(source.read_bytes())
    with h5py.File(features, "r+") as store, h5py.File(noisy, "r+") as cache:
        del store["v/values"], store["v/offset"], cache["v/values"]
        for file in (store, cache):
            file.create_dataset("v/values", data=np.ones((21 * 20_000, 2), np.float32))
        store["v/offset"] = np.arange(22) * 20_000
    with FeatureStore(features) as store:
        size = 2 * 4 * store.values("v").size
    tracemalloc.start()
    try:
        data = FoldData(features, noisy, 1, CPU)
        held, _peak = tracemalloc.get_traced_memory()
        batch = data.sequences("v", torch.tensor([3, 5]), torch.tensor([0, 1]))
        _held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 0.05 * size
    assert peak < 0.05 * size + 1.1 * 4 * batch.values.numel()


WITH_TEACHERS = {"mmin": "men", "if_mmin": "shared", "nmer": "two_tower"}


class OnMeta(torch.optim.SGD):
    """An optimiser for the device ``meta``, which has no fused AdamW."""

    def __init__(self, parameters, learning_rate, _weight_decay) -> None:
        super().__init__(list(parameters), lr=learning_rate, foreach=False)

    def set_learning_rate(self, _learning_rate) -> None:
        """Do nothing."""

    def require_state(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("name", ["men", "mctn", *WITH_TEACHERS])
@pytest.mark.parametrize("repeats", [0, 2], ids=["one by one", "two stacked"])
def test_a_gpu_synchronises_once_per_epoch(files, monkeypatch, name, repeats):
    """Trains on the device ``meta``, where an epoch fails if it reads a value before its end."""
    if not repeats and name in WITH_TEACHERS:
        pytest.skip("one repeat's teacher reports which encodings are missing; a GPU trains stacked repeats")
    device = torch.device("meta")
    data, reads = FoldData(*files, 1, device), []
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda _device="cpu": generator())
    for place in (one_by_one, stacked):
        monkeypatch.setattr(place, "AdamW", OnMeta)
        # Validation determines its items on the CPU, before training.
        monkeypatch.setattr(place, "ValidationSplit", lambda *_arguments: None)
    data.splits["val"] = torch.from_numpy(FOLDS[1]["val"])
    build, settings = (
        builder(name, **({"steps": 2} if name == "mctn" else {})),
        run_settings(name, "incomplete", batch_size=4),
    )
    numbers = list(range(1, repeats + 1))
    teachers = {number: own.to(device) for number, own in make_teachers(WITH_TEACHERS.get(name), numbers).items()}
    learner = Stacked(build, data, settings, numbers, teachers) if repeats else OneByOne(build, data, settings, 1)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: reads.append(tensor.shape) or torch.zeros(tensor.shape))
    losses = learner.train_epoch(0, 1e-3)
    assert len(reads) == 1
    steps, _terms, *others = reads[0]
    assert (steps, others) == (3, [repeats] if repeats else [])
    assert losses.values.shape == (3, len(losses.names), max(repeats, 1))
