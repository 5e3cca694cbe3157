"""Compare three forms of several LSTMs on a GPU: cuDNN's, one after another; all in the same steps; all steps in a
kernel.

Measures the forward and backward pass of LSTMs with 128 units over a batch of 128 utterances, replayed from a CUDA
graph, and the largest difference between the gradients of cuDNN and of the kernels. Prints a Markdown table. Needs a
CUDA device.

Example: .venv/bin/python benchmarks/lstm_forms.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

BATCH, DIM, HIDDEN = 128, 130, 128
STEPS = (50, 209, 308)
LSTMS = (1, 2, 3, 6, 18)
COLUMNS = ("LSTMs", "steps", "one after another, ms", "in the same steps, ms", "kernels, ms", "gradients differ by")


def main() -> None:
    """Measure and print."""
    if not torch.cuda.is_available():
        sys.exit("error: no CUDA device is available.")
    torch.set_default_device("cuda")
    torch.backends.fp32_precision = "ieee"
    print(torch.cuda.get_device_name(), torch.__version__)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for count in LSTMS:
        for steps in STEPS:
            print(f"| {count} | {steps} | {' | '.join(measure(count, steps))} |", flush=True)


def measure(count: int, steps: int) -> list[str]:
    """Return the milliseconds of each form, and the relative difference of two."""
    from nmer.systems.blocks import lstm_kernels
    from nmer.systems.blocks.recurrence import lstm_outputs, lstm_weights

    torch.manual_seed(0)
    lstms = [nn.LSTM(DIM, HIDDEN, batch_first=True) for _ in range(count)]
    values, scale = torch.randn(BATCH, steps, DIM), torch.randn(steps, BATCH, HIDDEN)
    readers = [(values, [lstm_weights(lstm) for lstm in lstms])]

    def backward(outputs: Tensor) -> None:
        for lstm in lstms:
            lstm.zero_grad(set_to_none=True)
        (outputs * scale).sum().backward()

    def one_after_another() -> None:
        backward(torch.stack([lstm(values)[0].transpose(0, 1) for lstm in lstms]))

    def in_the_same_steps() -> None:
        with patch.object(lstm_kernels, "fuses", lambda _weights: False):
            kernels()

    def kernels() -> None:
        (outputs,) = lstm_outputs(readers)
        backward(outputs)

    times, gradients = [], []
    for form in (one_after_another, in_the_same_steps, kernels):
        form()
        gradients.append([p.grad.clone() for lstm in lstms for p in lstm.parameters()])
        times.append(replayed(form))
    pairs = zip(gradients[0], gradients[-1], strict=True)
    difference = max(float((one - other).norm() / one.norm()) for one, other in pairs)
    return [*(f"{each:.2f}" for each in times), f"{difference:.0e}"]


def replayed(form: Callable[[], None], times: int = 10) -> float:
    """Return the milliseconds of a replay of a CUDA graph of the form."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            form()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        form()
    graph.replay()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        graph.replay()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / times * 1e3


if __name__ == "__main__":
    main()
