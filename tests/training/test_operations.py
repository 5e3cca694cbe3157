"""What a training may cost, as counts and not as times: operations, encodings, teacher passes, copies of the data."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from small_fold import CPU, DIMS, FOLDS, IDS, builder, fold_data, make_files, run_settings
from torch.utils.flop_counter import FlopCounterMode

from nmer.corpora.store import FeatureStore
from nmer.plan import conditions
from nmer.systems.blocks import HIDDEN
from nmer.training.batches import shown_in_epoch
from nmer.training.data import FoldData
from nmer.training.loop import make_batch, train_epoch, train_repeat, validate
from nmer.training.targets import TeacherTargets
from nmer.training.together import SystemsTogether

GATES = 4 * HIDDEN


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("operations"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


class Counted:
    """Notes how many utterances of which modality are encoded."""

    def __init__(self, system, monkeypatch) -> None:
        self.encoded: Counter = Counter()
        whole = system.encode

        def encode(modality, sequences):
            self.encoded[modality] += len(sequences.lengths)
            return whole(modality, sequences)

        monkeypatch.setattr(system, "encode", encode)


def lstm_operations(frames: int, utterances: int, dim: int) -> int:
    """Forward and backward, of frames that exist: an utterance's first frame has no state before it, and features need
    no gradient."""
    products = [frames * dim, (frames - utterances) * HIDDEN, frames * dim, frames * HIDDEN]
    products.append((frames - utterances) * HIDDEN)
    return 2 * GATES * sum(products)


def text_operations(tokens: int, utterances: int, dim: int) -> int:
    """Forward alone: the gradient of a filter is a sum of single windows, no matrix product."""
    return 2 * HIDDEN * utterances * sum((tokens - window + 1) * window * dim for window in (3, 4, 5))


def linear_operations(utterances: int, *widths: int) -> int:
    """Linear layers in a row, forward and backward with the gradient of what they read."""
    return 3 * 2 * utterances * sum(one * other for one, other in pairwise(widths))


@pytest.mark.parametrize(("name", "towers"), [("men", 1), ("two_tower", 2)])
def test_a_training_step_costs_the_products_of_the_frames_that_exist(data, name, towers):
    rows = data.splits["train"]
    batch = make_batch(data, rows, torch.zeros(len(rows), 3, dtype=torch.bool))
    system = builder(name)().train()

    def product(_added, first, second, **_given) -> int:
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


@pytest.mark.parametrize("regime", ["six", "all", "clean"])
def test_validation_encodes_every_state_of_an_utterance_once_whatever_the_conditions(data, monkeypatch, regime):
    system = builder()()
    counted = Counted(system, monkeypatch)
    validate(system, data, run_settings(regime=regime))
    assert counted.encoded == dict.fromkeys(DIMS, len(FOLDS[1]["val"]) * (2 if regime == "six" else 1))


def test_validation_under_one_condition_each_encodes_every_utterance_once_as_the_condition_says(data, monkeypatch):
    system = builder()()
    settings = run_settings(regime="six", evaluation="one_condition")
    counted = Counted(system, monkeypatch)
    found = validate(system, data, settings)
    assert counted.encoded == dict.fromkeys(DIMS, len(FOLDS[1]["val"]))
    # The same scores as from a batch that shows every utterance under its condition.
    rows = data.splits["val"]
    flags = [conditions.NOISY_FLAGS[conditions.fixed_condition("small", IDS[row])] for row in rows.tolist()]
    with torch.no_grad():
        guesses = system.eval()(make_batch(data, rows, torch.from_numpy(np.stack(flags))))["logits"].argmax(dim=1)
    assert found["val_WA"] == pytest.approx(float((guesses == data.labels[rows]).double().mean()))


@pytest.mark.parametrize(("name", "stage", "states"), [("nmer", "two_tower", 1), ("mmin", "men", 2)])
def test_a_teacher_encodes_each_training_utterance_once_a_training_and_no_other(data, monkeypatch, name, stage, states):
    teacher = builder(stage)().requires_grad_(False)
    counted = Counted(teacher, monkeypatch)
    train_repeat(builder(name), data, run_settings(name, "six", epochs=3), 1, teacher)
    # NMER's targets are clean; MMIN's reversed triples need both states.
    assert counted.encoded == dict.fromkeys(DIMS, states * len(FOLDS[1]["train"]))


def test_the_first_step_waits_for_the_teachers_encodings_of_its_own_batch_alone(data, monkeypatch):
    teacher = builder("two_tower")().requires_grad_(False)
    counted = Counted(teacher, monkeypatch)
    student, seen = builder("nmer")(), []
    whole = student.loss
    monkeypatch.setattr(student, "loss", lambda *given: (whole(*given), seen.append(dict(counted.encoded)))[0])
    train_repeat(lambda: student, data, run_settings("nmer", "six", epochs=1, batch_size=4), 1, teacher)
    assert seen[0] == dict.fromkeys(DIMS, 4)


def test_a_fold_keeps_no_copy_of_the_data_in_memory(files, tmp_path):
    # The same corpus with a modality far larger than everything else about it.
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


SYSTEMS = {
    "men": (None, {}),
    "mctn": (None, {"steps": 2}),
    "mmin": ("men", {}),
    "if_mmin": ("shared", {}),
    "nmer": ("two_tower", {}),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("repeats", [1, 2])
def test_a_gpu_is_asked_once_an_epoch_and_not_between(files, monkeypatch, name, repeats):
    """On a device without content: whatever needs a number of it, in the middle of an epoch, cannot be computed."""
    device = torch.device("meta")
    data, asked = FoldData(*files, 1, device), []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: asked.append(tensor.shape) or torch.zeros(tensor.shape))
    stage, options = SYSTEMS[name]
    settings = run_settings(name, "six", batch_size=4, repeats=repeats)
    systems = [builder(name, **options)().to(device) for _ in range(repeats)]
    targets = [TeacherTargets(builder(stage)().to(device), data) for _ in systems] if stage else []
    if repeats == 1:
        optimiser = torch.optim.SGD(systems[0].parameters(), foreach=False)
        train_epoch(systems[0], optimiser, data, settings, 1, 0, targets[0] if targets else None)
    else:
        together = SystemsTogether(systems, CPU)
        optimiser = torch.optim.SGD(together.parameters.values(), foreach=False)
        together.train_epoch(optimiser, data, settings, shown_in_epoch(data, settings, [1, 2], 0), targets)
    assert len(asked) == 1
    steps, _terms, *others = asked[0]
    assert (steps, others) == (3, [] if repeats == 1 else [repeats])
