"""AdamW without the two seconds of start-up that PyTorch's optimisers need (SPEC 3.3).

PyTorch's optimisers import the whole compiler to exclude their methods from it. A grid has hundreds of short processes
that never compile, so these guards are removed. The arithmetic is PyTorch's.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import torch
from torch import nn


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW``, fused, without the compiler's guards around its methods."""

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        trained = list(parameters)
        on_gpu = any(parameter.is_cuda for parameter in trained)
        # On a GPU, rate and step count are tensors, so every replay of a captured step reads their current values.
        rate = torch.tensor(learning_rate, device=trained[0].device) if on_gpu else learning_rate
        super().__init__(trained, lr=rate, weight_decay=weight_decay, fused=True, capturable=on_gpu)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def require_state(self) -> None:
        """Raise RuntimeError in a capture that would create state of a parameter: every replay would reset it."""
        lacking = any(
            group["capturable"] and parameter.grad is not None and parameter not in self.state
            for group in self.param_groups
            for parameter in group["params"]
        )
        if lacking and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("a parameter has its first gradient")
