"""Maximum over time in one CUDA kernel, with its gradient: the form for a GPU.

The framework's operators pass over all steps six times, and the rows of each number of utterances separately.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmer.systems.blocks.cuda_kernels import Kernel, compiled
from nmer.systems.blocks.step_counts import Counts, first_rows

THREADS = 256

SOURCE = r"""
constexpr int THREADS = 256;

// Steps that a thread reads at the same time.
constexpr int AT_ONCE = 8;

// The utterance's row of a step, -1 if it has none.
__device__ int row_at(const long long* firsts, int step, int steps, int rows, int utterance) {
    if (step >= steps) return -1;
    const int row = static_cast<int>(firsts[step]) + utterance;
    return row < (step + 1 < steps ? static_cast<int>(firsts[step + 1]) : rows) ? row : -1;
}

// The largest value of each utterance, (groups, utterances, width), minus infinity without a row that counts, and how
// many rows have it. One thread for each. values: (groups, rows, width), rows being utterances step by step. beyond:
// (groups / sharing, rows), nonzero where a row does not count. firsts: the first row of each step.
extern "C" __global__ void maxima(
    const float* values, const unsigned char* beyond, const long long* firsts, float* largest, float* times,
    int sharing, int utterances, int width, int steps, int rows
) {
    const int blocks = (utterances * width + THREADS - 1) / THREADS, group = blockIdx.x / blocks;
    const int index = blockIdx.x % blocks * THREADS + threadIdx.x, utterance = index / width;
    if (utterance >= utterances) return;
    const size_t place = static_cast<size_t>(group) * utterances * width + index;
    values += static_cast<size_t>(group) * rows * width + index % width;
    beyond += static_cast<size_t>(group / sharing) * rows;
    float most = -1.0f / 0.0f, number = 0.0f;
    for (int start = 0; row_at(firsts, start, steps, rows, utterance) >= 0; start += AT_ONCE) {
        float value[AT_ONCE];
        bool counts[AT_ONCE];
#pragma unroll
        for (int next = 0; next < AT_ONCE; ++next) {
            const int row = row_at(firsts, start + next, steps, rows, utterance);
            counts[next] = row >= 0 && !beyond[row];
            value[next] = row >= 0 ? values[static_cast<size_t>(row) * width] : 0.0f;
        }
#pragma unroll
        for (int next = 0; next < AT_ONCE; ++next) {
            // What is not a number stays the maximum, as with the framework's.
            if (!counts[next] || most != most) continue;
            if (value[next] == most) number += 1.0f;
            else if (!(value[next] < most)) most = value[next], number = 1.0f;
        }
    }
    largest[place] = most;
    times[place] = number;
}

// The gradient of the values, with the same threads.
extern "C" __global__ void maxima_backward(
    const float* values, const unsigned char* beyond, const long long* firsts, const float* largest,
    const float* times, const float* of_largest, float* of_values, int sharing, int utterances, int width, int steps,
    int rows
) {
    const int blocks = (utterances * width + THREADS - 1) / THREADS, group = blockIdx.x / blocks;
    const int index = blockIdx.x % blocks * THREADS + threadIdx.x, utterance = index / width;
    if (utterance >= utterances) return;
    const size_t place = static_cast<size_t>(group) * utterances * width + index;
    values += static_cast<size_t>(group) * rows * width + index % width;
    of_values += static_cast<size_t>(group) * rows * width + index % width;
    beyond += static_cast<size_t>(group / sharing) * rows;
    const float most = largest[place], share = of_largest[place] / times[place];
    for (int start = 0; row_at(firsts, start, steps, rows, utterance) >= 0; start += AT_ONCE) {
#pragma unroll
        for (int next = 0; next < AT_ONCE; ++next) {
            const int row = row_at(firsts, start + next, steps, rows, utterance);
            if (row < 0) continue;
            const size_t at = static_cast<size_t>(row) * width;
            of_values[at] = !beyond[row] && values[at] == most ? share : 0.0f;
        }
    }
}
"""


class Kernels(NamedTuple):
    """The kernels of :data:`SOURCE`, named as there."""

    maxima: Kernel
    maxima_backward: Kernel


def kernels(device: int) -> Kernels | None:
    """Return the kernels for the current device, None if they cannot be compiled."""
    found = compiled(device, "the maximum over time", SOURCE, Kernels._fields, THREADS, 0)
    return Kernels(*found) if found else None


def fuses(values: Tensor) -> bool:
    """Whether the kernels compute maxima of such values."""
    return values.is_cuda and values.dtype == torch.float32 and kernels(values.device.index) is not None


class KernelMaxima(torch.autograd.Function):
    """As :class:`~nmer.systems.blocks.fused_lstm.TimeMaxima`."""

    @staticmethod
    def forward(ctx: Any, counts: Counts, values: Tensor, beyond: Tensor) -> Tensor:
        """Arguments and result: as there. beyond has as many axes before the rows as values."""
        found = kernels(values.device.index)
        if found is None:
            raise RuntimeError("KernelMaxima without its kernels")
        *outer, rows, width = values.shape
        values, beyond = values.contiguous(), beyond.contiguous()
        firsts = first_rows(counts, values.device)
        largest = values.new_empty(*outer, counts[0], width)
        times = torch.empty_like(largest)
        groups = values.numel() // (rows * width)
        sizes = groups // (beyond.numel() // rows), counts[0], width, len(counts), rows
        blocks = groups * -(-counts[0] * width // THREADS)
        found.maxima(blocks, 0, values, beyond, firsts, largest, times, *sizes)
        ctx.launch, ctx.kernel = (blocks, sizes), found.maxima_backward
        ctx.save_for_backward(values, beyond, firsts, largest, times)
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_largest: Tensor) -> tuple[None, Tensor, None]:
        """of_largest: as the result."""
        values, *kept = ctx.saved_tensors
        of_values = torch.empty_like(values)
        blocks, sizes = ctx.launch
        ctx.kernel(blocks, 0, values, *kept, of_largest.contiguous(), of_values, *sizes)
        return None, of_values, None
