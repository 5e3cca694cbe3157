"""Fake CUDA streams on a CPU that find operations which could disturb each other on real ones.

Operators belong to the stream that is current when they are called. A backward node has the stream of its forward
operation, as in PyTorch, which orders what one node passes to another and keeps it until both streams have used it.
Memory is reused in the order of the stream that allocated it, as by PyTorch's allocator.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FIRST_LEAF = 2**62
"""Nodes that accumulate gradients have higher sequence numbers."""


class FakeStream:
    """now: of every stream, the number of its operations that precede the next one here. freed: reads of memory of this
    stream that has been freed."""

    def __init__(self, *_device) -> None:
        self.cuda_stream = id(self)
        self.now: Counter[FakeStream] = Counter()
        self.freed: list[tuple[FakeStream, int, str]] = []

    def record_event(self) -> Counter[FakeStream]:
        self.now[self] += 1
        return self.now.copy()

    def wait_event(self, event: Counter[FakeStream]) -> None:
        self.now |= event

    def wait_stream(self, other: FakeStream) -> None:
        self.wait_event(other.record_event())


class StreamCheck(TorchDispatchMode):
    """Collects ``problems`` of everything that is called within it."""

    def __init__(self, monkeypatch) -> None:
        super().__init__()
        self.outer = self.current = FakeStream()
        self.problems: set[str] = set()
        self._probe = torch.zeros(1, requires_grad=True)
        self._starts = [(0, self.outer)]
        """Sequence numbers from which backward nodes belong to a stream."""
        self._between_nodes = False
        self._written: dict[int, tuple[FakeStream, int]] = {}
        self._read: dict[int, dict[FakeStream, tuple[int, str]]] = defaultdict(dict)
        self._passed: set[tuple[int, FakeStream]] = set()
        monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
        monkeypatch.setattr(torch.cuda, "stream", self._on)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _device=None: self.current)
        backward = Tensor.backward

        def watched(loss: Tensor) -> None:
            leaves = self._watch(loss.grad_fn)
            backward(loss)
            self._between_nodes, self.current = False, self.outer
            for stream in leaves:
                self.outer.wait_stream(stream)

        monkeypatch.setattr(Tensor, "backward", watched)

    @contextmanager
    def _on(self, stream: FakeStream) -> Iterator[None]:
        before = self.current
        self._switch(stream)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, stream: FakeStream) -> None:
        self.current = stream
        if torch.is_grad_enabled():
            self._starts.append(((self._probe * 1).grad_fn._sequence_nr(), stream))

    def _watch(self, root) -> set[FakeStream]:
        """Run each backward node on its stream, after those that it depends on. Returns the streams of the leaves."""
        nodes, found = [root], {root}
        for node in nodes:
            for following, _number in node.next_functions:
                if following is not None and following not in found:
                    found.add(following)
                    nodes.append(following)
        streams = {}
        # The last operation first, so that a leaf keeps the stream of the first one that read it.
        for node in sorted(nodes, key=lambda node: -node._sequence_nr()):
            if node._sequence_nr() < FIRST_LEAF:
                streams[node] = next(stream for start, stream in reversed(self._starts) if start <= node._sequence_nr())
                streams |= {
                    following: streams[node]
                    for following, _number in node.next_functions
                    if following is not None and following._sequence_nr() >= FIRST_LEAF
                }
        events: dict[object, list] = defaultdict(list)
        for node in nodes:
            node.register_prehook(lambda _gradients, node=node: self._begin(streams[node], events[node]))
            node.register_hook(lambda gradients, _given, node=node: self._end(node, gradients, streams, events))
        return {streams[node] for node in nodes if node._sequence_nr() >= FIRST_LEAF}

    def _begin(self, stream: FakeStream, events: list) -> None:
        self._between_nodes, self.current = False, stream
        for event in events:
            stream.wait_event(event)

    def _end(self, node, gradients, streams, events) -> None:
        for (following, _number), gradient in zip(node.next_functions, gradients, strict=False):
            if following is not None and gradient is not None:
                events[following].append(self.current.record_event())
                self._passed.add((_address(gradient), streams[following]))
        self._between_nodes = True

    def __torch_dispatch__(self, function, types, given=(), named=None):
        found = function(*given, **(named or {}))
        read = [part for part in tree_leaves((given, named)) if isinstance(part, Tensor)]
        written = [part for part in tree_leaves(found) if isinstance(part, Tensor)]
        schema = function._schema
        if not schema.is_mutable and {*map(_address, written)} <= {*map(_address, read)}:
            return found  # a view
        if schema.is_mutable:
            values = {argument.name: value for argument, value in zip(schema.arguments, given, strict=False)}
            changed = [argument.name for argument in schema.arguments if argument.is_write]
            written += tree_leaves([(values | (named or {})).get(name) for name in changed])
        self._record(str(function), read, [part for part in written if isinstance(part, Tensor)])
        return found

    def _record(self, name: str, read: list[Tensor], written: list[Tensor]) -> None:
        stream = self.current
        stream.now[stream] += 1
        time = stream.now[stream]
        for tensor in [] if self._between_nodes else read:
            address = _address(tensor)
            if address in self._written:
                self._expect(*self._written[address], f"{name} reads what is not yet written")
            elif address not in self._read:  # a number, or what has existed before
                weakref.finalize(tensor.untyped_storage(), self._forget, address)
            self._read[address][stream] = time, name
        for tensor in written:
            address = _address(tensor)
            known = address in self._written or address in self._read
            if self._between_nodes:
                # PyTorch adds gradients on the stream of their node, which waits for the sum.
                self._written.pop(address, None)
                self._read.pop(address, None)
                if not known:
                    weakref.finalize(tensor.untyped_storage(), self._forget, address)
                continue
            for other, (when, reading) in self._read.get(address, {}).items():
                self._expect(other, when, f"{name} writes what {reading} still reads")
            self._written[address] = stream, time
            if not known:
                for other, when, reading in stream.freed:
                    self._expect(other, when, f"{name} may reuse memory that {reading} still reads")
                stream.freed.clear()
                weakref.finalize(tensor.untyped_storage(), self._free, address, stream)

    def _expect(self, other: FakeStream, time: int, problem: str) -> None:
        if self.current.now[other] < time:
            self.problems.add(problem)

    def _free(self, address: int, stream: FakeStream) -> None:
        for other, (time, name) in self._read.get(address, {}).items():
            if (address, other) not in self._passed:
                stream.freed.append((other, time, name))
        self._forget(address)

    def _forget(self, address: int) -> None:
        self._written.pop(address, None)
        self._read.pop(address, None)
        self._passed = {(known, other) for known, other in self._passed if known != address}


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
