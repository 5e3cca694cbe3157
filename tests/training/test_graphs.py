"""Calls are captured once per key and replayed; what cannot be captured runs plainly, with the same numbers.

CUDA graphs need a GPU. These tests run on a CPU with a fake capture that runs the function again at every replay, on
the captured tensors.
"""

from __future__ import annotations

import gc

import pytest
import torch
from small_fold import FakeCaptures, RestorableGenerator

from nmer.training.graphs import Graphs

CPU = torch.device("cpu")


@pytest.fixture
def captures(monkeypatch):
    return FakeCaptures(monkeypatch)


def capturing_graphs(generators=()) -> Graphs:
    graphs = Graphs(CPU, list(generators), enabled=True, label="men")
    graphs.capturing = True
    return graphs


class Doubling:
    """Records the tensors that it is called with."""

    def __init__(self) -> None:
        self.inputs = []

    def __call__(self, values):
        self.inputs.append(values)
        return 2 * values


def test_the_first_call_of_all_runs_normally_and_the_second_is_captured(captures):
    graphs, function = capturing_graphs(), Doubling()
    inputs = [torch.tensor([float(number)]) for number in range(4)]
    with graphs.stream():
        found = [graphs.call("key", function, values) for values in inputs]
    assert [float(output) for output in found] == [0.0, 2.0, 4.0, 6.0]
    assert captures.captured == 1
    assert captures.replays == 3
    # The first call receives its own input, a replay the captured tensor with the values of the input.
    assert function.inputs[0] is inputs[0]
    assert len({id(values) for values in function.inputs[1:]}) == 1
    assert not any(function.inputs[1] is values for values in inputs)


def test_every_key_has_a_separate_capture_at_its_first_call_after_the_first_of_all(captures):
    graphs, function = capturing_graphs(), Doubling()
    for _round in range(3):
        assert graphs.call((4, 10), function, torch.ones(4)).shape == (4,)
        assert graphs.call((1, 10), function, torch.ones(1)).shape == (1,)
    assert captures.captured == 2
    assert captures.replays == 5


def test_a_later_replay_does_not_change_an_earlier_output(captures):
    graphs, function = capturing_graphs(), Doubling()
    found = [graphs.call("key", function, torch.tensor([float(number)])) for number in range(4)]
    assert [float(output) for output in found] == [0.0, 2.0, 4.0, 6.0]


def test_a_call_without_inputs_is_replayed(captures):
    graphs, state = capturing_graphs(), torch.zeros(1)
    found = [float(graphs.call("validation", lambda: state.add_(1))) for _call in range(3)]
    assert found == [1.0, 2.0, 3.0]
    assert captures.captured == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_on_a_cpu_every_call_runs_normally(captures, enabled):
    graphs, function = Graphs(CPU, [], enabled=enabled, label="men"), Doubling()
    inputs = [torch.ones(2) for _call in range(3)]
    with graphs.stream():
        for values in inputs:
            graphs.call("key", function, values)
    assert not graphs.capturing
    assert captures.captured == 0
    assert all(seen is values for seen, values in zip(function.inputs, inputs, strict=True))


def drawing(generators):
    """Return a function that draws from each generator; None is the CPU's default one."""
    return lambda: torch.stack([torch.empty(3).normal_(generator=own) for own in generators])


def seeded() -> list[RestorableGenerator]:
    found = [RestorableGenerator() for _ in range(2)]
    for number, own in enumerate(found):
        own.manual_seed(number)
    return found


FAILURES = [
    (RuntimeError("operation not permitted when stream is capturing\nCUDA error 900"), "operation not permitted"),
    (ValueError(), "ValueError"),
    (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), "CUDA out of memory. Tried"),
]


@pytest.mark.parametrize(("error", "reason"), FAILURES, ids=lambda value: type(value).__name__)
def test_a_call_that_cannot_be_captured_runs_normally_with_the_same_draws(captures, capsys, error, reason):
    generators = seeded()
    plain = Graphs(CPU, generators, enabled=False, label="men")
    expected = [plain.call("key", drawing(generators)) for _call in range(5)]

    captures.fail_with = error
    generators = seeded()
    graphs = capturing_graphs(generators)
    found = [graphs.call("key", drawing(generators)) for _call in range(3)]
    # No other key is tried.
    found += [graphs.call("other", drawing(generators)) for _call in range(2)]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert captures.captured == 1
    assert not graphs.capturing
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: men: runs without CUDA graphs, because {reason}")


def test_a_key_whose_first_call_cannot_be_captured_is_captured_at_its_second(captures, capsys):
    generators = seeded()
    plain = Graphs(CPU, generators, enabled=False, label="men")
    expected = [plain.call("key", drawing(generators)) for _call in range(7)]

    generators = seeded()
    graphs = capturing_graphs(generators)
    found = [graphs.call("first", drawing(generators)) for _call in range(2)]
    captures.fail_with = RuntimeError("operation not permitted when stream is capturing")
    found.append(graphs.call("second", drawing(generators)))
    captures.fail_with = None
    # The first key is captured again, because the generators have a new state.
    found += [graphs.call(key, drawing(generators)) for key in ("first", "second", "first", "second")]
    assert all(map(torch.equal, found, expected))
    assert captures.captured == 4
    assert captures.replays == 5
    assert capsys.readouterr().err == ""


def test_a_key_that_cannot_be_captured_after_a_normal_call_disables_graphs(captures, capsys):
    graphs, function = capturing_graphs(), Doubling()
    graphs.call("first", function, torch.ones(1))
    captures.fail_with = RuntimeError("cannot be captured")
    for _call in range(4):
        assert torch.equal(graphs.call("second", function, torch.ones(2)), torch.full((2,), 2.0))
    assert captures.captured == 2
    assert not graphs.capturing
    assert capsys.readouterr().err.count("warning: ") == 1


def test_default_generators_keep_their_state_after_a_failed_capture(captures, capsys):
    def drawn(graphs) -> list[torch.Tensor]:
        torch.manual_seed(3)
        captures.default.manual_seed(4)
        return [graphs.call("key", drawing([captures.default, None])) for _call in range(3)]

    expected = drawn(Graphs(CPU, [], enabled=False, label="men"))
    captures.fail_with = RuntimeError("cannot be captured")
    assert all(map(torch.equal, drawn(capturing_graphs()), expected))
    assert captures.captured == 1
    assert "runs without CUDA graphs" in capsys.readouterr().err


def test_a_failed_capture_ends_the_replays_of_all_keys(captures, capsys):
    graphs, function = capturing_graphs(), Doubling()
    for _call in range(2):
        graphs.call("first", function, torch.ones(1))
    captures.fail_with = RuntimeError("cannot be captured")
    for _call in range(2):
        graphs.call("second", function, torch.ones(2))
    replays = captures.replays
    assert torch.equal(graphs.call("first", function, torch.full((1,), 5.0)), torch.full((1,), 10.0))
    assert captures.replays == replays
    assert capsys.readouterr().err.count("warning: ") == 1


def test_an_error_of_the_function_is_raised_unchanged(captures):
    def faulty():
        raise KeyError("logit")

    with pytest.raises(KeyError, match="logit"):
        capturing_graphs().call("key", faulty)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Replace the CUDA functions of a capture by fakes that record their calls."""
    made: list[str] = []

    class FakeGraph:
        def register_generator_state(self, _generator) -> None:
            made.append("register")

        def capture_begin(self, pool) -> None:
            assert pool == (0, 7)
            made.append("begin")

        def capture_end(self) -> None:
            made.append("end")
            if "failed" in made:
                raise RuntimeError("operation failed due to a previous error during capture")

        def replay(self) -> None:
            made.append("replay")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 7))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: made.append("empty"))
    monkeypatch.setattr("nmer.training.graphs.default_generator", lambda device: RestorableGenerator())
    return made


def test_memory_is_freed_before_the_first_capture_only(calls):
    graphs = capturing_graphs(seeded())
    for key in ("first", "first", "second", "second"):
        graphs.call(key, Doubling(), torch.ones(1))
    capture = ["begin", "end", "replay"]
    assert calls == ["register", "register", "empty", *capture, "register", "register", *capture, "replay"]


def test_garbage_is_not_collected_during_a_capture(calls):
    collecting = []

    def function():
        collecting.append(gc.isenabled())
        return torch.ones(1)

    graphs = capturing_graphs()
    for _call in range(3):
        graphs.call("key", function)
    assert collecting == [True, False]
    assert gc.isenabled()


def test_an_error_during_a_capture_ends_it_and_is_the_reported_one(calls, capsys):
    def function():
        if calls and calls[-1] == "begin":
            calls.append("failed")
            raise RuntimeError("Cannot copy between CPU and CUDA tensors during CUDA graph capture")
        return torch.ones(1)

    graphs = capturing_graphs()
    for _call in range(2):
        graphs.call("key", function)
    assert calls == ["empty", "begin", "failed", "end"]
    assert gc.isenabled()
    assert "because Cannot copy between CPU and CUDA tensors" in capsys.readouterr().err
