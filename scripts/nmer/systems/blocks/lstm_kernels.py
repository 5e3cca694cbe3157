"""All steps of LSTMs in one CUDA kernel, with their gradients: the form for a GPU.

An operator per step reads the hidden weights again in every step and waits for the slowest utterance. Here a block of
threads computes all steps of two utterances of an LSTM and keeps the weights, 256 kB, in its registers and its shared
memory. A training of IEMOCAP has about as many pairs of utterances as a GPU has multiprocessors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmer.systems.blocks.cuda_kernels import Kernel, compiled
from nmer.systems.blocks.fused_lstm import previous_outputs
from nmer.systems.blocks.products import sum_of_products
from nmer.systems.blocks.step_counts import Counts, first_rows

HIDDEN = 128
THREADS = 256
UTTERANCES = 2
"""Of a block."""

SHARED = {"forward": 8 * 4 * 512 + UTTERANCES * 5 * HIDDEN, "backward": 16 * 4 * THREADS + UTTERANCES * 6 * HIDDEN}
"""Floats of a block's shared memory: weights, then states, gates and sums."""

SOURCE = r"""
constexpr int HIDDEN = 128, GATES = 4 * HIDDEN, THREADS = 256, UTTERANCES = THREADS / HIDDEN;

__device__ float sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }

__device__ float add(float4 a, float4 b, float total) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, total))));
}

// Utterances that have a step. firsts: the first row of each step.
__device__ int count(const long long* firsts, int step, int steps, int rows) {
    return (step + 1 < steps ? static_cast<int>(firsts[step + 1]) : rows) - static_cast<int>(firsts[step]);
}

// One block for UTTERANCES of an LSTM. A thread adds the products of two gates of all utterances, then it computes one
// unit of one utterance. products, gates: (lstms, rows, GATES), before and after activation. biases: (lstms, GATES).
// weights: (lstms, GATES, HIDDEN). outputs, cells: (lstms, rows, HIDDEN). Rows are utterances step by step. gates and
// cells are written if they are kept.
extern "C" __global__ void __launch_bounds__(THREADS, 1) forward(
    const float* products, const float* biases, const float* weights, const long long* firsts, float* outputs,
    float* cells, float* gates, int kept, int lstms, int steps, int rows
) {
    extern __shared__ float shared[];
    // Four weights of a gate each: most in registers, the others in shared memory.
    constexpr int PARTS = HIDDEN / 4, HELD = 24;
    float4 *others = reinterpret_cast<float4*>(shared), *states = others + (PARTS - HELD) * GATES;
    float *state = reinterpret_cast<float*>(states), *sums = state + UTTERANCES * HIDDEN;
    const int thread = threadIdx.x, lstm = blockIdx.x % lstms, place = blockIdx.x / lstms * UTTERANCES;
    const int utterance = thread / HIDDEN, unit = thread % HIDDEN;
    const size_t first = static_cast<size_t>(lstm) * rows + place + utterance;
    const float4* from = reinterpret_cast<const float4*>(weights) + static_cast<size_t>(lstm) * GATES * PARTS;
    float4 held[2][HELD];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int gate = half * THREADS + thread;
#pragma unroll
        for (int part = 0; part < HELD; ++part) held[half][part] = from[gate * PARTS + part];
        for (int part = HELD; part < PARTS; ++part) others[(part - HELD) * GATES + gate] = from[gate * PARTS + part];
    }
    float bias[4], cell = 0.0f;
    for (int gate = 0; gate < 4; ++gate) bias[gate] = biases[lstm * GATES + gate * HIDDEN + unit];
    state[thread] = 0.0f;
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
        const int going_on = count(firsts, step, steps, rows);
        if (place >= going_on) break;
        const bool active = place + utterance < going_on;
        const size_t row = first + firsts[step];
        float given[4];
        for (int gate = 0; gate < 4; ++gate) given[gate] = active ? products[row * GATES + gate * HIDDEN + unit] : 0.0f;
        float total[2][UTTERANCES] = {};
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float4 weight =
                    part < HELD ? held[half][part] : others[(part - HELD) * GATES + half * THREADS + thread];
#pragma unroll
                for (int other = 0; other < UTTERANCES; ++other)
                    total[half][other] = add(weight, states[other * PARTS + part], total[half][other]);
            }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int other = 0; other < UTTERANCES; ++other)
                sums[other * GATES + half * THREADS + thread] = total[half][other];
        __syncthreads();
        const float* sum = sums + utterance * GATES + unit;
        const float entering = sigmoid(given[0] + bias[0] + sum[0]);
        const float keeping = sigmoid(given[1] + bias[1] + sum[HIDDEN]);
        const float candidate = tanhf(given[2] + bias[2] + sum[2 * HIDDEN]);
        const float leaving = sigmoid(given[3] + bias[3] + sum[3 * HIDDEN]);
        cell = keeping * cell + entering * candidate;
        state[thread] = leaving * tanhf(cell);
        if (active) outputs[row * HIDDEN + unit] = state[thread];
        if (active && kept) {
            cells[row * HIDDEN + unit] = cell;
            float* of_unit = gates + row * GATES + unit;
            of_unit[0] = entering;
            of_unit[HIDDEN] = keeping;
            of_unit[2 * HIDDEN] = candidate;
            of_unit[3 * HIDDEN] = leaving;
        }
        __syncthreads();
    }
}

// Gradients of the products, (lstms, rows, GATES). One block for UTTERANCES of an LSTM. A thread computes the gates of
// one unit of one utterance, then it adds half the products of a unit of all utterances.
extern "C" __global__ void __launch_bounds__(THREADS, 1) backward(
    const float* of_outputs, const float* weights, const long long* firsts, const float* cells, const float* gates,
    float* of_products, int lstms, int steps, int rows
) {
    extern __shared__ float shared[];
    // Weights of a unit for four gates each.
    constexpr int PARTS = GATES / 2 / 4, HELD = 48;
    float4 *others = reinterpret_cast<float4*>(shared), *of_gates = others + (PARTS - HELD) * THREADS;
    float *of_gate = reinterpret_cast<float*>(of_gates), *sums = of_gate + UTTERANCES * GATES;
    const int thread = threadIdx.x, lstm = blockIdx.x % lstms, place = blockIdx.x / lstms * UTTERANCES;
    const int half = thread / HIDDEN, utterance = half, unit = thread % HIDDEN;
    const size_t first = static_cast<size_t>(lstm) * rows + place + utterance;
    const float* from = weights + (static_cast<size_t>(lstm) * GATES + half * (GATES / 2)) * HIDDEN + unit;
    float4 held[HELD];
#pragma unroll
    for (int part = 0; part < PARTS; ++part, from += 4 * HIDDEN) {
        const float4 four = {from[0], from[HIDDEN], from[2 * HIDDEN], from[3 * HIDDEN]};
        if (part < HELD) held[part] = four;
        else others[(part - HELD) * THREADS + thread] = four;
    }
    for (int other = 0; other < UTTERANCES; ++other) sums[(half * UTTERANCES + other) * HIDDEN + unit] = 0.0f;
    __syncthreads();

    bool active;
    float gate[4], of_output, cell, before;
    const auto read = [&](int step) {
        active = place + utterance < count(firsts, step, steps, rows);
        if (!active) return;
        const size_t row = first + firsts[step];
        for (int number = 0; number < 4; ++number) gate[number] = gates[row * GATES + number * HIDDEN + unit];
        of_output = of_outputs[row * HIDDEN + unit];
        cell = cells[row * HIDDEN + unit];
        before = step ? cells[(first + firsts[step - 1]) * HIDDEN + unit] : 0.0f;
    };
    int step = steps - 1;
    while (place >= count(firsts, step, steps, rows)) --step;
    read(step);
    float of_cell = 0.0f;
    for (; step >= 0; --step) {
        float of_four[4] = {};
        if (active) {
            const float entering = gate[0], keeping = gate[1], candidate = gate[2], leaving = gate[3];
            const float squashed = tanhf(cell), *sum = sums + utterance * HIDDEN + unit;
            const float of_state = of_output + sum[0] + sum[UTTERANCES * HIDDEN];
            of_cell += of_state * leaving * (1.0f - squashed * squashed);
            of_four[0] = of_cell * candidate * entering * (1.0f - entering);
            of_four[1] = of_cell * before * keeping * (1.0f - keeping);
            of_four[2] = of_cell * entering * (1.0f - candidate * candidate);
            of_four[3] = of_state * squashed * leaving * (1.0f - leaving);
            of_cell *= keeping;
            float* of_unit = of_products + (first + firsts[step]) * GATES + unit;
            for (int number = 0; number < 4; ++number) of_unit[number * HIDDEN] = of_four[number];
        }
        for (int number = 0; number < 4; ++number)
            of_gate[utterance * GATES + number * HIDDEN + unit] = of_four[number];
        __syncthreads();
        // Before the products, which hide the latency of the memory.
        if (step) read(step - 1);
        float total[UTTERANCES][2] = {};
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const float4 weight = part < HELD ? held[part] : others[(part - HELD) * THREADS + thread];
#pragma unroll
            for (int other = 0; other < UTTERANCES; ++other) {
                float& sum = total[other][part % 2];
                sum = add(weight, of_gates[other * (GATES / 4) + half * PARTS + part], sum);
            }
        }
#pragma unroll
        for (int other = 0; other < UTTERANCES; ++other)
            sums[(half * UTTERANCES + other) * HIDDEN + unit] = total[other][0] + total[other][1];
        __syncthreads();
    }
}
"""


class Kernels(NamedTuple):
    """The kernels of :data:`SOURCE`, named as there."""

    forward: Kernel
    backward: Kernel


def kernels(device: int) -> Kernels | None:
    """Return the kernels for the current device, None if they cannot be compiled."""
    found = compiled(device, "an LSTM", SOURCE, Kernels._fields, THREADS, max(SHARED.values()))
    return Kernels(*found) if found else None


def fuses(products: Tensor) -> bool:
    """Whether the kernels compute LSTMs from their input projections, (..., 4 hidden)."""
    fits = products.dtype == torch.float32 and products.shape[-1] == 4 * HIDDEN
    return products.is_cuda and fits and kernels(products.device.index) is not None


class KernelOutputs(torch.autograd.Function):
    """:class:`~nmer.systems.blocks.fused_lstm.LstmOutputs` of LSTMs of equally many steps."""

    @staticmethod
    def forward(ctx: Any, counts: Counts, biases: Tensor, hidden_weights: Tensor, products: Tensor) -> Tensor:
        """Arguments and result: as there, for one product."""
        found = kernels(products.device.index)
        if found is None:
            raise RuntimeError("KernelOutputs without its kernels")
        lstms, rows = products.shape[:2]
        products, biases, weights = products.contiguous(), biases.contiguous(), hidden_weights.contiguous()
        firsts = first_rows(counts, products.device)
        outputs = products.new_empty(lstms, rows, HIDDEN)
        keep = any(ctx.needs_input_grad)
        cells, gates = (
            torch.empty_like(outputs if keep else outputs[:0]),
            torch.empty_like(products if keep else products[:0]),
        )
        found.forward(
            _blocks(counts, lstms),
            SHARED["forward"],
            products,
            biases,
            weights,
            firsts,
            outputs,
            cells,
            gates,
            int(keep),
            lstms,
            len(counts),
            rows,
        )
        if keep:
            ctx.counts, ctx.backward_kernel = counts, found.backward
            ctx.save_for_backward(weights, firsts, outputs, cells, gates)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """of_outputs: as the outputs."""
        weights, firsts, outputs, cells, gates = ctx.saved_tensors
        lstms, rows = gates.shape[:2]
        of_products = torch.empty_like(gates)
        ctx.backward_kernel(
            _blocks(ctx.counts, lstms),
            SHARED["backward"],
            of_outputs.contiguous(),
            weights,
            firsts,
            cells,
            gates,
            of_products,
            lstms,
            len(ctx.counts),
            rows,
        )
        of_weights = sum_of_products(of_products, previous_outputs(ctx.counts, outputs))
        return None, of_products.sum(dim=1), of_weights, of_products


def _blocks(counts: Counts, lstms: int) -> int:
    return lstms * -(-counts[0] // UTTERANCES)
