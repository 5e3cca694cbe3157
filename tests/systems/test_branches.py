"""Branches run on separate streams on a GPU, and everything after them waits for them."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from small_systems import batch_of, random_utterances, small_system
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nmer.systems.blocks import branches
from nmer.systems.blocks.branches import branching, compute_branches, hold


class Stream:
    """Records what runs on it and which streams it waits for."""

    current: Stream

    def __init__(self):
        self.log: list[object] = []
        self.cuda_stream = id(self)

    def record_event(self):
        return self, len(self.log)

    def wait_event(self, event):
        self.log.append(("waits for", *event))

    def wait_stream(self, other):
        self.wait_event(other.record_event())


@pytest.fixture
def outer(monkeypatch):
    """The current stream of a machine that seems to have a GPU."""

    @contextmanager
    def stream(own):
        before, Stream.current = Stream.current, own
        try:
            yield
        finally:
            Stream.current = before

    Stream.current = Stream()
    monkeypatch.setattr(branches, "_streams", {})
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: Stream.current)
    return Stream.current


def run(name: str):
    """A branch that records itself on its stream and returns its name and its stream."""

    def branch():
        Stream.current.log.append(name)
        return name, Stream.current

    return branch


def test_each_branch_has_a_stream_that_starts_after_what_came_before_and_ends_before_what_follows(outer):
    outer.log.append("before")
    with branching(torch.device("cuda")):
        found = compute_branches({name: run(name) for name in "avl"})
        joined = list(outer.log)
    assert list(found) == ["a", "v", "l"]
    assert [name for name, _stream in found.values()] == ["a", "v", "l"]
    (_, audio), (_, visual), (_, lexical) = found.values()
    assert audio is outer
    assert len({audio, visual, lexical}) == 3
    for stream, name in ((visual, "v"), (lexical, "l")):
        assert stream.log == [("waits for", outer, 1), name]
        assert ("waits for", stream, 2) in joined
    assert joined[:2] == ["before", "a"]


def test_branches_are_called_in_their_order(outer):
    called = []
    with branching(torch.device("cuda")):
        compute_branches({name: lambda name=name: called.append(name) for name in "avl"})
    assert called == ["a", "v", "l"]


def test_branches_within_a_branch_share_no_stream_with_other_branches(outer):
    with branching(torch.device("cuda")):
        found = compute_branches({name: lambda: compute_branches({n: run(n) for n in "xy"}) for name in "av"})
    streams = [stream for inner in found.values() for _name, stream in inner.values()]
    assert len(set(streams)) == 4


def test_results_stay_in_memory_until_the_block_ends(outer):
    with branching(torch.device("cuda"), "read"):
        found = compute_branches({name: run(name) for name in "av"})
        held = branches._branching[-1].held
        assert held == [("read",), [found["v"]]]
    assert branches._branching == []


def test_what_branches_read_is_held_until_the_block_ends(outer):
    with branching(torch.device("cuda")):
        hold("joint")
        assert branches._branching[-1].held == [(), ("joint",)]
    hold("outside of a block")
    assert branches._branching == []


def test_sequences_that_a_system_computes_before_its_encoders_are_held(outer):
    system, batch = small_system("men"), batch_of(random_utterances())
    with branching(torch.device("cuda")):
        system(batch)
        assert any(held[0] is batch.observed for held in branches._branching[-1].held if held)


@pytest.mark.parametrize("device", ["cpu", None])
def test_without_a_gpu_or_outside_a_block_branches_run_one_after_another(outer, device):
    if device is None:
        found = compute_branches({name: run(name) for name in "avl"})
    else:
        with branching(torch.device(device)):
            found = compute_branches({name: run(name) for name in "avl"})
    assert outer.log == ["a", "v", "l"]
    assert {stream for _name, stream in found.values()} == {outer}


def test_an_error_in_a_branch_ends_the_block(outer):
    with pytest.raises(ZeroDivisionError), branching(torch.device("cuda")):
        compute_branches({"a": run("a"), "v": lambda: 1 / 0})
    assert branches._branching == []


def test_after_an_error_in_a_branch_all_streams_are_joined(outer):
    with pytest.raises(ZeroDivisionError), branching(torch.device("cuda")):
        compute_branches({"a": run("a"), "v": lambda: 1 / 0})
    (visual,) = branches._streams.values()
    assert ("waits for", visual, 1) in outer.log


def test_an_error_of_joining_does_not_hide_the_error_before_it(outer, monkeypatch):
    def invalidated(_stream, _other):
        raise RuntimeError("operation failed due to a previous error during capture")

    def failing():
        monkeypatch.setattr(Stream, "wait_stream", invalidated)
        return 1 / 0

    with pytest.raises(ZeroDivisionError), branching(torch.device("cuda")):
        compute_branches({"a": lambda: compute_branches({name: run(name) for name in "xy"}), "v": failing})
    assert branches._branching == []


def test_no_branch_reads_a_weight_that_another_has_cast(outer):
    casts = []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, given=(), named=None):
            if function is torch.ops.aten._to_copy.default and given[0].shape == weight.shape:
                casts.append(Stream.current)
            return function(*given, **(named or {}))

    weight, values = nn.Parameter(torch.randn(4, 4)), torch.randn(3, 4)
    multiplied = lambda: values @ weight  # noqa: E731
    with branching(torch.device("cuda")), torch.autocast("cpu", torch.bfloat16), Casts():
        multiplied()
        compute_branches(dict.fromkeys("av", multiplied))
        multiplied()
    first, audio, visual, last = casts
    assert first is audio is last is outer
    assert visual is not outer


def test_parameters_may_be_shared_between_branches_without_a_warning(outer):
    warns = torch._C._warn_on_accumulate_grad_stream_mismatch
    assert warns()
    with branching(torch.device("cuda")):
        assert not warns()
    assert warns()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="parallel streams need a CUDA device")
def test_gradients_through_branches_equal_those_without_on_a_gpu():
    device = torch.device("cuda")
    parts = nn.ModuleDict({name: nn.Linear(64, 64) for name in "avl"}).to(device)
    values = torch.randn(512, 64, device=device)

    def gradients():
        parts.zero_grad(set_to_none=True)
        found = compute_branches({name: lambda part=part: part(values).relu() for name, part in parts.items()})
        torch.cat(list(found.values())).square().sum().backward()
        return [parameter.grad.clone() for parameter in parts.parameters()]

    expected = gradients()
    for _ in range(20):
        with branching(device, values):
            found = gradients()
        for gradient, reference in zip(found, expected, strict=True):
            assert torch.equal(gradient, reference)
