"""Calls of a function of tensors as CUDA graphs: captured once per key, then replayed without Python (PyTorch).

On a GPU these small systems spend most of a step on launching kernels one by one; a replayed graph launches all of
them at once. Whatever cannot be captured runs plainly, as everything does on a CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class Graphs:
    """Captured calls that share one memory pool and one stream."""

    def __init__(self, device: torch.device, generators: list[torch.Generator], enabled: bool, what: str) -> None:
        """generators: the functions draw from, beside the default one; their seeds may change between calls.
        enabled: whether to capture at all; never on a CPU. what: named in the warning if a capture fails."""
        self.capturing = enabled and device.type == "cuda"
        self._device, self._generators, self._what = device, generators, what
        self._captured: dict[Hashable, _Captured] = {}
        self._ran: set[Hashable] = set()
        self._stream: Any = torch.cuda.Stream(device) if self.capturing else None
        self._pool: Any = torch.cuda.graph_pool_handle() if self.capturing else None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """The stream of all calls. What is computed in the block is finished, as far as others see, when it ends."""
        if self._stream is None:
            yield
            return
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)

    def call(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """``function(*inputs)``, to be called within :meth:`stream`.

        key: calls of one key do the same with inputs of the same shapes. The first call of a key runs plainly, which
        is its warm-up, the second is captured. A function must not depend on values that only Python sees.
        """
        if not self.capturing or key not in self._ran:
            self._ran.add(key)
            return function(*inputs)
        if key not in self._captured:
            drawn_from = [*self._generators, default_generator(self._device)]
            before, on_cpu = [generator.get_state() for generator in drawn_from], torch.get_rng_state()
            try:
                self._captured[key] = self._capture(function, inputs)
            except Exception as error:  # anything a system does that a graph cannot hold
                self.disable((str(error).strip() or type(error).__name__).splitlines()[0])
                torch.set_rng_state(on_cpu)
                for generator, state in zip(drawn_from, before, strict=True):
                    # A generator of a broken capture cannot draw outside it; its copy goes on where it was.
                    generator.graphsafe_set_state(generator.clone_state())
                    generator.set_state(state)
                return function(*inputs)
        captured = self._captured[key]
        for own, given in zip(captured.inputs, inputs, strict=True):
            own.copy_(given)
        captured.graph.replay()
        # The next replay of any key may overwrite the output.
        return captured.output.clone()

    def disable(self, reason: str) -> None:
        """Run every call plainly from now on, with a warning where calls would have been captured."""
        if self.capturing:
            print(f"warning: {self._what}: runs without CUDA graphs, because {reason}", file=sys.stderr)
        self.capturing = False
        self._captured.clear()

    def _capture(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> _Captured:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        own = tuple(given.clone() for given in inputs)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            output = function(*own)
        return _Captured(graph, own, output)


def default_generator(device: torch.device) -> torch.Generator:
    """The generator of a GPU from which a system draws that names no other; every capture registers it by itself."""
    found: torch.Generator = torch.cuda.default_generators[
        torch.cuda.current_device() if device.index is None else device.index
    ]
    return found
