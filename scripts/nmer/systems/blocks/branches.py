"""Independent parts of a step side by side on a GPU, as parallel branches of its CUDA graph.

The kernels of these systems, above all those of an LSTM's steps, occupy only a part of a GPU. Kernels that do not
depend on each other therefore run at the same time. The backward pass has the same branches, because autograd computes
a gradient on the stream of its forward operation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class _Branching(NamedTuple):
    """streams: those used so far. held: what one stream allocated and others read, kept until all are done, because
    memory is reused in the order of the stream that allocated it."""

    streams: set[Any]
    held: list[Any]


_branching: list[_Branching] = []
_streams: dict[tuple[int, Hashable], Any] = {}
"""By the stream from which a branch leaves and the key of the branch."""


@contextmanager
def branching(device: torch.device, *held: Any) -> Iterator[None]:
    """Run the branches within the block on separate streams of a GPU; on a CPU, one after another.

    The block contains the backward pass. held: other tensors that the branches read and that may be freed within the
    block.
    """
    if device.type != "cuda":
        yield
        return
    own = _Branching(set(), [held])
    _branching.append(own)
    # Branches that share a parameter have gradients on several streams. Autograd waits for each, and warns.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    try:
        yield
    except BaseException:
        # A capture ends with an error, and keeps its memory, unless all streams have been joined.
        with suppress(RuntimeError):  # which would hide the reason
            _join(device, own.streams)
        raise
    else:
        _join(device, own.streams)
    finally:
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(True)
        _branching.pop()


def _join(device: torch.device, streams: set[Any]) -> None:
    for stream in streams:
        torch.cuda.current_stream(device).wait_stream(stream)


def hold(*tensors: Any) -> None:
    """Keep what the current step computed and branches read, in the backward pass as well, until all branches end."""
    if _branching:
        _branching[-1].held.append(tensors)


def compute_branches(branches: Mapping[Key, Callable[[], Result]]) -> dict[Key, Result]:
    """Return the results of functions that do not depend on each other, by their keys.

    They are called in their order, so that random draws do not depend on the device. The first, which should take
    longest, stays on the current stream.
    """
    if not _branching:
        return {key: branch() for key, branch in branches.items()}
    streams, held = _branching[-1]
    outer = torch.cuda.current_stream()
    start = outer.record_event()
    first, *others = branches
    torch.clear_autocast_cache()
    found = {first: branches[first]()}
    used = []
    for key in others:
        place = outer.cuda_stream, key
        if place not in _streams:
            _streams[place] = torch.cuda.Stream()
        stream = _streams[place]
        stream.wait_event(start)
        streams.add(stream)
        # Weights that another branch has cast need not be ready on this stream.
        torch.clear_autocast_cache()
        with torch.cuda.stream(stream):
            found[key] = branches[key]()
        used.append(stream)
    torch.clear_autocast_cache()
    for stream in used:
        outer.wait_stream(stream)
    held.append([found[key] for key in others])
    return found
