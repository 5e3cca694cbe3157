"""No branch of a training step reads, overwrites or frees what another stream still uses."""

from __future__ import annotations

import pytest
import torch
from fake_streams import FakeStream, StreamCheck
from small_fold import SYSTEMS, builder, fold_data, make_files, make_teachers, run_settings

from nmer.systems import mctn
from nmer.systems.blocks import branches, lstm_kernels
from nmer.systems.blocks.fused_lstm import LstmOutputs
from nmer.training.stacked import Stacked

REPEATS = [1, 2]
QUICK = ("men", "nmer", "mctn", "momke")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fold_data(make_files(tmp_path_factory.mktemp("streams")))


def problems(name: str, data, monkeypatch, precision: str = "float32") -> set[str]:
    """Train an epoch, all steps with branches, and return what could go wrong."""
    stage, regime, options = SYSTEMS[name]
    name = name.split()[0]
    settings = run_settings(name, regime, repeats=2, precision=precision)
    learner = Stacked(builder(name, **options), data, settings, REPEATS, make_teachers(stage, REPEATS))
    learner.train_epoch(0, 1e-3)
    monkeypatch.setattr(branches, "_streams", {})
    monkeypatch.setattr(learner, "device", torch.device("cuda"))
    monkeypatch.setattr(learner._graphs, "capturing", True)
    monkeypatch.setattr(learner._graphs, "call", lambda _key, step, *inputs: step(*inputs))
    with StreamCheck(monkeypatch) as check:
        learner.train_epoch(1, 1e-3)
    assert branches._streams
    return check.problems


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SYSTEMS]
)
def test_streams_wait_for_each_other_wherever_they_share_memory(name, precision, data, monkeypatch):
    assert problems(name, data, monkeypatch, precision) == set()


class Steps:
    """Computes LSTMs as :class:`KernelOutputs` does, with the framework's operators."""

    @staticmethod
    def apply(counts, _firsts, *given):
        (outputs,) = LstmOutputs.apply(counts, *(part.flatten(0, 1) for part in given))
        return outputs.unflatten(0, given[0].shape[:2])


@pytest.mark.parametrize("name", ["nmer", pytest.param("mctn", marks=pytest.mark.slow)])
def test_branches_of_lstms_that_have_kernels_wait_for_each_other(name, data, monkeypatch):
    monkeypatch.setattr(lstm_kernels, "fuses", lambda _weights: True)
    monkeypatch.setattr(lstm_kernels, "KernelOutputs", Steps)
    assert problems(name, data, monkeypatch) == set()


def test_a_missing_join_is_found(data, monkeypatch):
    monkeypatch.setattr(FakeStream, "wait_stream", lambda _stream, _other: None)
    assert any("not yet written" in problem for problem in problems("men", data, monkeypatch))


def test_memory_that_is_freed_too_early_is_found(data, monkeypatch):
    monkeypatch.setattr(mctn, "hold", lambda *_tensors: None)
    assert any("may reuse memory" in problem for problem in problems("mctn", data, monkeypatch))
