"""AdamW without the two seconds that a process's first optimiser takes (SPEC 3.3).

The framework's optimisers guard themselves against its compiler, and import that whole compiler to do so. A grid is
hundreds of short processes that never compile, so the guards are taken off; the arithmetic is the framework's.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import torch
from torch import nn


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW``, fused, with its methods as they are beneath the compiler's guards."""

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        held = list(parameters)
        on_gpu = any(parameter.is_cuda for parameter in held)
        # On a GPU rate and step count are tensors, which a captured step reads anew at every replay.
        rate = torch.tensor(learning_rate, device=held[0].device) if on_gpu else learning_rate
        super().__init__(held, lr=rate, weight_decay=weight_decay, fused=True, capturable=on_gpu)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate
