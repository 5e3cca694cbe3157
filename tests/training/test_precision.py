"""Lower precision in training: where it applies, and where it does not."""

from __future__ import annotations

import math

import pytest
import torch
from small_fold import SYSTEMS, Plain, builder, fold_data, make_files, make_teachers, run_settings, train_one

from nmer.devices import set_product_precision
from nmer.plan.settings import TrainingSettings
from nmer.training.batches import make_batch
from nmer.training.precision import loss_terms, matrix_precision


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


def test_bfloat16_applies_to_the_system_and_not_to_its_losses(data):
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
    weights, history = train_one(builder(name, **options), data, settings, 1, make_teachers(stage, [1]).get(1))
    assert {value.dtype for value in weights.values()} == {torch.float32}
    single = run_settings(name, regime, epochs=2)
    _weights, rows = train_one(builder(name, **options), data, single, 1, make_teachers(stage, [1]).get(1))
    assert history[0]["loss"] != rows[0]["loss"]
    assert all(math.isfinite(row["loss"]) for row in history)


def test_tf32_applies_to_a_gpu_only_and_ends_with_the_block():
    before = set_product_precision("ieee")
    try:
        for precision, device, expected in [
            ("tf32", "cuda", "tf32"),
            ("tf32", "cpu", "ieee"),
            ("float32", "cuda", "ieee"),
        ]:
            with matrix_precision(precision, torch.device(device)):
                assert torch.backends.cuda.matmul.fp32_precision == expected
                assert torch.backends.cudnn.rnn.fp32_precision == expected
            assert torch.backends.cudnn.rnn.fp32_precision == "ieee"
    finally:
        set_product_precision(before)
