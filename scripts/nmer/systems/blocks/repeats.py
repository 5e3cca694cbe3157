"""Compute several repeats of a system jointly with ``torch.vmap``, and the exceptions that its blocks need.

Under ``torch.vmap`` a system is written for one repeat and computed for all. Operations that the framework cannot
compute for all repeats at once, and random draws of each repeat, leave vmap and have the repeats on a first axis.
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

from nmer.systems.blocks.branches import compute_branches
from nmer.systems.blocks.products import sum_of_products


class _Together(NamedTuple):
    """A computation of several repeats. number: of the repeat, a batched tensor under ``torch.vmap``."""

    number: Tensor
    generators: list[torch.Generator]


_running: list[_Together] = []


def together() -> bool:
    """Whether several repeats are being computed jointly."""
    return bool(_running)


def compute_stacked(function: Callable[..., Any], generators: list[torch.Generator], *given: Any) -> Any:
    """Compute ``function`` of every repeat's part of ``given`` jointly for all repeats.

    function: of one repeat, as for ``torch.vmap``. generators: one per repeat, for random draws. given: tensors, or
    containers of tensors, with the repeats on their first axis, like the results. Raises RuntimeError if ``torch.vmap``
    rejects an operation of the function.
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
    """Make a single repeat draw the same numbers as among others. On a GPU the framework's faster dropout draws other
    masks; on a CPU the masks are the same."""
    return nullcontext() if device.type == "cpu" else _OwnDraws()


Result = TypeVar("Result", bound=Tensor | tuple[Tensor, ...])


def across_repeats(function: Callable[..., Result], *tensors: Tensor) -> Result:
    """Apply ``function`` to tensors with the repeats on an additional first axis, which its result has as well.

    For a single repeat that axis has length one. Gradients are those of the framework's operations in ``function``.
    """
    if together():
        of_all: Result = _ForAll.apply(function, _running[-1].number, *tensors)  # type: ignore[no-untyped-call]
        return of_all
    found = function(*(tensor[None] for tensor in tensors))
    return cast(Result, found[0] if isinstance(found, Tensor) else tuple(part[0] for part in found))


class _ForAll(torch.autograd.Function):
    """Runs only through its vmap rule, whose operations autograd records."""

    @staticmethod
    def forward(function: Callable[..., Result], number: Tensor, *tensors: Tensor) -> Result:
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is saved for the backward pass."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], function: Callable[..., Result], _number: Tensor, *tensors: Tensor
    ) -> tuple[Result, Any]:
        """Compute all repeats at once. An operand that all repeats share has no axis for them yet."""
        given = [
            tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip(tensors, in_dims[2:], strict=True)
        ]
        # Outside the mode: this computes all repeats, not one.
        running, _running[:] = _running[:], []
        try:
            found = function(*given)
            return found, 0 if isinstance(found, Tensor) else (0,) * len(found)
        finally:
            _running[:] = running


class _OwnDraws(TorchFunctionMode):
    """Draw dropout and normal numbers from each repeat's generator, or from the framework's for a single repeat.

    Linear layers of several repeats become one batched product; ``torch.vmap`` would launch some ten kernels for each.
    """

    def __torch_function__(
        self, function: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Intercept a function of the framework."""
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
    """Linear layers of several repeats as batched products whose gradients have the layout of the weights."""

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

        def parameters() -> tuple[Tensor | None, ...]:
            return (
                sum_of_products(of_rows, rows) if of_weights else None,
                *(of_rows.sum(dim=1) if needed else None for needed in of_biases),
            )

        if not of_values:
            return None, *parameters()
        # Neither fills a GPU.
        found = compute_branches(
            {"values": lambda: (torch.bmm(of_rows, weights).view(ctx.shape),), "parameters": parameters}
        )
        return *found["values"], *found["parameters"]


def _dropout(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return values
    kept = _drawn(values, lambda empty, generator: empty.bernoulli_(1 - p, generator=generator))
    return values * (kept * (1 / (1 - p) if p < 1.0 else 0.0))


def _normal(values: Tensor, **like: Any) -> Tensor:
    return _drawn(values, Tensor.normal_, **like)


def _drawn(values: Tensor, draw: Callable[..., Tensor], **like: Any) -> Tensor:
    """Return a tensor like ``values`` drawn separately for every repeat. like: keywords of ``torch.empty_like``."""
    if not together():
        return draw(torch.empty_like(values, **like), generator=None)
    generators = _running[-1].generators

    def of_each(shaped: Tensor) -> Tensor:
        drawn = torch.empty_like(shaped, memory_format=torch.contiguous_format, **like)
        for one, own in zip(drawn, generators, strict=True):
            draw(one, generator=own)
        return drawn

    return across_repeats(of_each, values.detach())
