"""Several repeats of a system computed as one: what its blocks need to know of it (``torch.vmap``; PyTorch).

Under ``torch.vmap`` a system is written for one repeat and computed for all. What the framework cannot compute for all
repeats at once, or what each repeat must draw by itself, steps out of it, and finds the repeats on a first axis.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nmer.systems.blocks.products import sum_of_products


class _Together(NamedTuple):
    """A computation of several repeats. number: of the repeat, as ``torch.vmap`` shows it: every repeat has its own."""

    number: Tensor
    generators: list[torch.Generator]


_running: list[_Together] = []


def together() -> bool:
    """Whether several repeats are computed as one at the moment."""
    return bool(_running)


def compute_stacked(function: Callable[..., Any], generators: list[torch.Generator], *given: Any) -> Any:
    """``function`` of every repeat's part of ``given``, computed for all repeats as one.

    function: of one repeat, as ``torch.vmap`` takes it. generators: of each repeat, for what it draws at random.
    given: tensors, or containers of tensors, with the repeats on their first axis, as the results have them.
    Raises RuntimeError if the function does something that ``torch.vmap`` cannot do.
    """

    def of_one(number: Tensor, *parts: Any) -> Any:
        _running.append(_Together(number, generators))
        try:
            return function(*parts)
        finally:
            _running.pop()

    with _OwnDraws():
        return torch.vmap(of_one, randomness="different")(torch.arange(len(generators)), *given)


def drawn_alike(device: torch.device) -> AbstractContextManager[object]:
    """Lets a repeat that is computed alone draw what it draws among others: on a GPU the framework has a faster way for
    dropout, with other masks; on a CPU they are the same."""
    return nullcontext() if device.type == "cpu" else _OwnDraws()


Result = TypeVar("Result", bound=Tensor | tuple[Tensor, ...])


def across_repeats(function: Callable[..., Result], *tensors: Tensor) -> Result:
    """``function`` of tensors that have the repeats on an axis before their own, which its result has as well.

    One repeat alone is an axis of one. Gradients are those of the framework's operations in ``function``.
    """
    if together():
        of_all: Result = _ForAll.apply(function, _running[-1].number, *tensors)  # type: ignore[no-untyped-call]
        return of_all
    found = function(*(tensor[None] for tensor in tensors))
    return cast(Result, found[0] if isinstance(found, Tensor) else tuple(part[0] for part in found))


class _ForAll(torch.autograd.Function):
    """Never runs as itself: under vmap its rule takes its place, whose operations autograd sees."""

    @staticmethod
    def forward(function: Callable[..., Result], number: Tensor, *tensors: Tensor) -> Result:
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], function: Callable[..., Result], _number: Tensor, *tensors: Tensor
    ) -> tuple[Result, Any]:
        """All repeats at once. An operand that is the same for every repeat has no axis for them yet."""
        given = [
            tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip(tensors, in_dims[2:], strict=True)
        ]
        # Out of it: what is computed here is not one repeat's.
        running, _running[:] = _running[:], []
        try:
            found = function(*given)
            return found, 0 if isinstance(found, Tensor) else (0,) * len(found)
        finally:
            _running[:] = running


class _OwnDraws(TorchFunctionMode):
    """Draws dropout and normal numbers, several repeats' from the generator of each, one's from the framework's.

    Linear layers of several repeats are one batched product; ``torch.vmap`` makes some ten kernels of each.
    """

    def __torch_function__(
        self, function: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """The framework's hook, called for each of its functions."""
        named = dict(named or {})
        if function is functional.linear and together():
            return _linear(*given, **named)
        if function in (functional.dropout, torch.randn_like):
            values, *others = given or (named.pop("input"),)
            own = _dropout if function is functional.dropout else _normal
            return own(values, *others, **named)
        return function(*given, **named)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if weight.dim() != 2:
        return functional.linear(input, weight, bias)
    device = input.device.type
    given = [input, weight] if bias is None else [input, weight, bias]
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        given = [each.to(torch.get_autocast_dtype(device)) for each in given]
        with torch.autocast(device, enabled=False):
            return _multiplied(*given)
    return _multiplied(*given)


def _multiplied(*given: Tensor) -> Tensor:
    found: Tensor = across_repeats(_Linear.apply, *given)
    return found


class _Linear(torch.autograd.Function):
    """The linear layers of several repeats, each a batched product whose gradient has its weights' layout."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weights: Tensor, biases: Tensor | None = None) -> Tensor:
        """values: (repeats, ..., inputs). weights: (repeats, outputs, inputs). biases: (repeats, outputs).
        Returns (repeats, ..., outputs)."""
        rows, columns = values.reshape(len(values), -1, values.shape[-1]), weights.transpose(1, 2)
        ctx.save_for_backward(rows, weights)
        ctx.shape = values.shape
        found = torch.bmm(rows, columns) if biases is None else torch.baddbmm(biases[:, None], rows, columns)
        return found.view(*values.shape[:-1], weights.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights = ctx.saved_tensors
        of_rows = gradient.reshape(len(rows), -1, weights.shape[1])
        of_values, of_weights, *of_biases = ctx.needs_input_grad
        return (
            torch.bmm(of_rows, weights).view(ctx.shape) if of_values else None,
            sum_of_products(of_rows, rows) if of_weights else None,
            *(of_rows.sum(dim=1) if needed else None for needed in of_biases),
        )


def _dropout(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return values
    kept = _drawn(values, lambda empty, generator: empty.bernoulli_(1 - p, generator=generator))
    return values * (kept * (1 / (1 - p) if p < 1.0 else 0.0))


def _normal(values: Tensor, **like: Any) -> Tensor:
    return _drawn(values, Tensor.normal_, **like)


def _drawn(values: Tensor, draw: Callable[..., Tensor], **like: Any) -> Tensor:
    """A tensor like ``values`` that every repeat has drawn for itself. like: as of ``torch.empty_like``."""
    if not together():
        return draw(torch.empty_like(values, **like), generator=None)
    generators = _running[-1].generators

    def of_each(shaped: Tensor) -> Tensor:
        drawn = torch.empty_like(shaped, memory_format=torch.contiguous_format, **like)
        for one, own in zip(drawn, generators, strict=True):
            draw(one, generator=own)
        return drawn

    return across_repeats(of_each, values.detach())
