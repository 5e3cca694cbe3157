"""Function calls as CUDA graphs: captured once per key, then replayed without Python.

On a GPU these small systems spend most of a step on launching kernels one by one; a replayed graph launches them all at
once. Calls that cannot be captured run normally, as on a CPU.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class Graphs:
    """Captured calls that share one memory pool and one stream."""

    def __init__(self, device: torch.device, generators: list[torch.Generator], enabled: bool, label: str) -> None:
        """generators: generators that the functions use besides the default one; their seeds may change between calls.
        enabled: whether to capture, which never happens on a CPU. label: name in the warning if a capture fails."""
        self.capturing = enabled and device.type == "cuda"
        self._device, self._generators, self._label = device, generators, label
        self._captured: dict[Hashable, _Captured] = {}
        self._ran: set[Hashable] = set()
        # Takes precedence over the branches that leave from it, because the longest one stays on it.
        self._stream: Any = torch.cuda.Stream(device, priority=-1) if self.capturing else None
        self._pool: Any = None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Run the block on the stream of all calls. Later work outside the block waits for it."""
        if self._stream is None:
            yield
            return
        outer = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outer)
        with torch.cuda.stream(self._stream):
            yield
        outer.wait_stream(self._stream)

    def call(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return ``function(*inputs)``. Call it within :meth:`stream`.

        key: calls with the same key do the same work on inputs of the same shapes. The function must not depend on
        Python values that change. The very first call runs normally: it loads libraries and creates the state of
        optimisers, which a graph cannot contain. Afterwards a key is captured at its first call. If that fails, the
        call runs normally, and the key is captured again at its second call; if that fails as well, graphs are
        disabled.
        """
        if not self.capturing or not self._ran:
            self._ran.add(key)
            return function(*inputs)
        if key not in self._captured and not self._captures(key, function, inputs):
            # Outside the handling of the error, whose traceback keeps the memory of the failed call.
            return function(*inputs)
        captured = self._captured[key]
        for static, current in zip(captured.inputs, inputs, strict=True):
            static.copy_(current)
        captured.graph.replay()
        # The next replay of any key may overwrite the output.
        return captured.output.clone()

    def _captures(self, key: Hashable, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> bool:
        """Capture a call and return True, or restore the state before, free the memory of all graphs and return
        False."""
        generators = [*self._generators, default_generator(self._device)]
        before, on_cpu = [generator.get_state() for generator in generators], torch.get_rng_state()
        try:
            self._captured[key] = self._capture(function, inputs)
        except Exception as error:  # any operation that a graph cannot contain
            if key in self._ran:
                self.disable((str(error).strip() or type(error).__name__).splitlines()[0])
        else:
            return True
        self._ran.add(key)
        # The generators get a new state, which the graphs captured so far would not use.
        self._captured.clear()
        self._pool = None
        torch.set_rng_state(on_cpu)
        for generator, state in zip(generators, before, strict=True):
            # A generator of a failed capture cannot draw outside it; its copy continues from its state.
            generator.graphsafe_set_state(generator.clone_state())
            generator.set_state(state)
        return False

    def disable(self, reason: str) -> None:
        """Run all further calls normally; warn if they would have been captured."""
        if self.capturing:
            print(f"warning: {self._label}: runs without CUDA graphs, because {reason}", file=sys.stderr)
        self.capturing = False
        self._captured.clear()

    def _capture(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> _Captured:
        """Capture a call on the current stream.

        Does what ``torch.cuda.graph`` does, but does not wait for the GPU and frees memory only before the first
        capture, so that the GPU works on earlier steps while Python captures.
        """
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        static = tuple(tensor.clone() for tensor in inputs)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
            torch.cuda.empty_cache()
        with _no_collection():
            graph.capture_begin(pool=self._pool)
            try:
                output = function(*static)
            except BaseException:
                with suppress(RuntimeError):  # which would hide the reason
                    graph.capture_end()
                raise
            graph.capture_end()
        return _Captured(graph, static, output)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Suspend Python's garbage collection, which may free objects of the GPU in ways that end a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def default_generator(device: torch.device) -> torch.Generator:
    """Return the default generator of a GPU. Every capture registers it automatically."""
    generator: torch.Generator = torch.cuda.default_generators[
        torch.cuda.current_device() if device.index is None else device.index
    ]
    return generator
