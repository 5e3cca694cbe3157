"""All steps of LSTMs in one CUDA kernel, with their gradients: the form for a GPU.

An operator per step reads the hidden weights again in every step and waits for the slowest utterance. Here a block of
threads computes all steps of two utterances of an LSTM and keeps the weights, 256 kB, in its registers and its shared
memory. Three repeats of a batch have 192 pairs of utterances, and a large GPU has 132 multiprocessors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmer.systems.blocks.cuda_kernels import Kernel, compiled
from nmer.systems.blocks.fused_lstm import previous_outputs
from nmer.systems.blocks.products import sum_of_products
from nmer.systems.blocks.step_counts import Counts

HIDDEN = 128
THREADS = 256
UTTERANCES = 2
"""Of a block."""

SHARED = {
    "forward": 4 * 4 * 4 * THREADS + 2 * UTTERANCES * (HIDDEN + 8),
    "backward": 8 * 2 * 4 * THREADS + 2 * UTTERANCES * 4 * (HIDDEN + 4),
}
"""Floats of a block's shared memory: weights, then two steps of states or of gradients."""

SOURCE = r"""
constexpr int HIDDEN = 128, GATES = 4, THREADS = 2 * HIDDEN, UTTERANCES = 2;

// Between parts that neighbouring threads read at the same time, so that they are in different banks.
constexpr int APART = 4;

__device__ float sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }

__device__ float add(float4 a, float4 b, float total) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, total))));
}

__device__ float from_lane(float value, int apart) { return __shfl_xor_sync(0xffffffffu, value, apart); }

// Not an index, which would move an array from registers to memory.
__device__ float chosen(bool first, float one, float other) { return first ? one : other; }

// Utterances that have a step. firsts: the first row of each step.
__device__ int count(const long long* firsts, int step, int steps, int rows) {
    return (step + 1 < steps ? static_cast<int>(firsts[step + 1]) : rows) - static_cast<int>(firsts[step]);
}

// One block for UTTERANCES of an LSTM. A thread multiplies all gates of one unit with half the state of all utterances.
// Then it computes that unit of one utterance. products, gates: before and after activation, GATES * HIDDEN numbers of
// an LSTM and a row; the distances of repeats, of a repeat's LSTMs and of rows are multiples of that. biases: (repeats,
// lstms, GATES * HIDDEN). weights: (repeats, lstms, GATES * HIDDEN, HIDDEN). outputs, cells: (repeats, lstms, rows,
// HIDDEN). Rows are utterances step by step. gates and cells are written if they are kept.
extern "C" __global__ void __launch_bounds__(THREADS, 1) forward(
    const float* products, const float* biases, const float* weights, const long long* firsts, float* outputs,
    float* cells, float* gates, int kept, int repeats, int lstms, int steps, int rows, int of_repeat,
    int of_lstm, int of_row
) {
    extern __shared__ float shared[];
    // Four weights of each gate: most in registers, the others in shared memory.
    constexpr int HALF = HIDDEN / 2, PARTS = HALF / 4, HELD = 12, STATE = 2 * (HALF + APART);
    float4* others = reinterpret_cast<float4*>(shared);
    float *states = shared + (PARTS - HELD) * GATES * THREADS * 4;
    const int thread = threadIdx.x, unit = thread / 2, half = thread % 2, utterance = half;
    const int lstm = blockIdx.x % (repeats * lstms), place = blockIdx.x / (repeats * lstms) * UTTERANCES;
    const float4* from = reinterpret_cast<const float4*>(
        weights + (static_cast<size_t>(lstm) * GATES * HIDDEN + unit) * HIDDEN + half * HALF
    );
    float4 held[GATES][HELD];
    float bias[GATES];
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) {
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const float4 four = from[gate * HIDDEN * HIDDEN / 4 + part];
            if (part < HELD) held[gate][part] = four;
            else others[((part - HELD) * GATES + gate) * THREADS + thread] = four;
        }
        bias[gate] = biases[(lstm * GATES + gate) * HIDDEN + unit];
    }
    const size_t first = static_cast<size_t>(lstm) * rows + place + utterance;
    const size_t own = lstm / lstms * of_repeat + lstm % lstms * of_lstm + (place + utterance) * of_row;
    // Where the thread's unit is among the states of its utterance.
    const int at = utterance * STATE + unit + unit / HALF * APART;
    float cell = 0.0f;
    states[at] = 0.0f;
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
        const int going_on = count(firsts, step, steps, rows);
        if (place >= going_on) break;
        const bool active = place + utterance < going_on;
        const long long row = firsts[step];
        float given[GATES];
        for (int gate = 0; gate < GATES; ++gate)
            given[gate] = active ? products[(own + row * of_row) * GATES * HIDDEN + gate * HIDDEN + unit] : 0.0f;
        float total[UTTERANCES][GATES] = {};
        const float* before = states + step % 2 * UTTERANCES * STATE + half * (HALF + APART);
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
#pragma unroll
            for (int other = 0; other < UTTERANCES; ++other) {
                const float4 state = reinterpret_cast<const float4*>(before + other * STATE)[part];
#pragma unroll
                for (int gate = 0; gate < GATES; ++gate) {
                    const float4 weight =
                        part < HELD ? held[gate][part] : others[((part - HELD) * GATES + gate) * THREADS + thread];
                    total[other][gate] = add(weight, state, total[other][gate]);
                }
            }
        }
        // The neighbouring thread has the other halves, and computes the other utterance.
#pragma unroll
        for (int gate = 0; gate < GATES; ++gate) {
            const float passed = from_lane(chosen(half, total[0][gate], total[1][gate]), 1);
            given[gate] += bias[gate] + (chosen(half, total[1][gate], total[0][gate]) + passed);
        }
        const float entering = sigmoid(given[0]), keeping = sigmoid(given[1]);
        const float candidate = tanhf(given[2]), leaving = sigmoid(given[3]);
        cell = keeping * cell + entering * candidate;
        const float output = leaving * tanhf(cell);
        states[(step + 1) % 2 * UTTERANCES * STATE + at] = output;
        if (active) outputs[(first + row) * HIDDEN + unit] = output;
        if (active && kept) {
            cells[(first + row) * HIDDEN + unit] = cell;
            float* to = gates + (own + row * of_row) * GATES * HIDDEN + unit;
            to[0] = entering;
            to[HIDDEN] = keeping;
            to[2 * HIDDEN] = candidate;
            to[3 * HIDDEN] = leaving;
        }
        __syncthreads();
    }
}

// Gradients of the products. One block for UTTERANCES of an LSTM. A thread computes the gates of one unit of one
// utterance. Then it multiplies the gradients of one gate of all units and utterances with the weights of two units.
extern "C" __global__ void __launch_bounds__(THREADS, 1) backward(
    const float* of_outputs, const float* weights, const long long* firsts, const float* cells, const float* gates,
    float* of_products, int repeats, int lstms, int steps, int rows, int of_repeat, int of_lstm, int of_row
) {
    extern __shared__ float shared[];
    constexpr int PARTS = HIDDEN / 4, HELD = 24, GATE = HIDDEN + APART, UNITS = 2;
    float4* others = reinterpret_cast<float4*>(shared);
    float* of_gates = shared + (PARTS - HELD) * UNITS * THREADS * 4;
    const int thread = threadIdx.x, unit = thread / 2, utterance = thread % 2, own_gate = thread % GATES;
    const int lstm = blockIdx.x % (repeats * lstms), place = blockIdx.x / (repeats * lstms) * UTTERANCES;
    const float* from =
        weights + (static_cast<size_t>(lstm) * GATES + own_gate) * HIDDEN * HIDDEN + thread / GATES * UNITS;
    float4 held[UNITS][HELD];
#pragma unroll
    for (int part = 0; part < PARTS; ++part, from += 4 * HIDDEN) {
#pragma unroll
        for (int of_pair = 0; of_pair < UNITS; ++of_pair) {
            const float* four = from + of_pair;
            const float4 found = {four[0], four[HIDDEN], four[2 * HIDDEN], four[3 * HIDDEN]};
            if (part < HELD) held[of_pair][part] = found;
            else others[((part - HELD) * UNITS + of_pair) * THREADS + thread] = found;
        }
    }
    const size_t first = static_cast<size_t>(lstm) * rows + place + utterance;
    const size_t own = lstm / lstms * of_repeat + lstm % lstms * of_lstm + (place + utterance) * of_row;

    bool active;
    float gate[GATES], of_output, cell, before;
    const auto read = [&](int step) {
        active = place + utterance < count(firsts, step, steps, rows);
        if (!active) return;
        const long long row = firsts[step];
        const float* from = gates + (own + row * of_row) * GATES * HIDDEN + unit;
        for (int number = 0; number < GATES; ++number) gate[number] = from[number * HIDDEN];
        of_output = of_outputs[(first + row) * HIDDEN + unit];
        cell = cells[(first + row) * HIDDEN + unit];
        before = step ? cells[(first + firsts[step - 1]) * HIDDEN + unit] : 0.0f;
    };
    int step = steps - 1;
    while (place >= count(firsts, step, steps, rows)) --step;
    read(step);
    float of_state = 0.0f, of_cell = 0.0f;
    for (; step >= 0; --step) {
        float of_gate[GATES] = {};
        if (active) {
            const float entering = gate[0], keeping = gate[1], candidate = gate[2], leaving = gate[3];
            const float squashed = tanhf(cell);
            of_state += of_output;
            of_cell += of_state * leaving * (1.0f - squashed * squashed);
            of_gate[0] = of_cell * candidate * entering * (1.0f - entering);
            of_gate[1] = of_cell * before * keeping * (1.0f - keeping);
            of_gate[2] = of_cell * entering * (1.0f - candidate * candidate);
            of_gate[3] = of_state * squashed * leaving * (1.0f - leaving);
            of_cell *= keeping;
            float* to = of_products + (own + firsts[step] * of_row) * GATES * HIDDEN + unit;
            for (int number = 0; number < GATES; ++number) to[number * HIDDEN] = of_gate[number];
        }
        float* of_step = of_gates + step % 2 * UTTERANCES * GATES * GATE;
        for (int number = 0; number < GATES; ++number)
            of_step[(utterance * GATES + number) * GATE + unit] = of_gate[number];
        __syncthreads();
        // Before the products, which hide the latency of the memory.
        if (step) read(step - 1);
        float total[UNITS][UTTERANCES] = {};
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
#pragma unroll
            for (int other = 0; other < UTTERANCES; ++other) {
                const float4 four = reinterpret_cast<const float4*>(of_step + (other * GATES + own_gate) * GATE)[part];
#pragma unroll
                for (int of_pair = 0; of_pair < UNITS; ++of_pair) {
                    const float4 weight = part < HELD ? held[of_pair][part]
                                                      : others[((part - HELD) * UNITS + of_pair) * THREADS + thread];
                    total[of_pair][other] = add(weight, four, total[of_pair][other]);
                }
            }
        }
        // Four neighbouring threads have the four gates of two units and two utterances, and need one sum each.
        const bool second = thread % 4 / 2;
        float sums[UTTERANCES];
#pragma unroll
        for (int other = 0; other < UTTERANCES; ++other)
            sums[other] = chosen(second, total[1][other], total[0][other])
                + from_lane(chosen(second, total[0][other], total[1][other]), 2);
        of_state = chosen(utterance, sums[1], sums[0]) + from_lane(chosen(utterance, sums[0], sums[1]), 1);
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


def fuses(hidden_weights: Tensor) -> bool:
    """Whether the kernels compute LSTMs with such hidden weights, (..., 4 hidden, hidden)."""
    fits = hidden_weights.dtype == torch.float32 and hidden_weights.shape[-1] == HIDDEN
    return hidden_weights.is_cuda and fits and kernels(hidden_weights.device.index) is not None


class KernelOutputs(torch.autograd.Function):
    """:class:`~nmer.systems.blocks.fused_lstm.LstmOutputs` of LSTMs of equally many steps, with the repeats on an
    additional first axis."""

    @staticmethod
    def forward(
        ctx: Any, counts: Counts, firsts: Tensor, biases: Tensor, hidden_weights: Tensor, products: Tensor
    ) -> Tensor:
        """counts, firsts: utterances and first row of each step. biases: (repeats, LSTMs, 4 hidden), the sum of both.
        hidden_weights: (repeats, LSTMs, 4 hidden, hidden). products: of inputs and input weights, (repeats, LSTMs,
        rows, 4 hidden), rows being utterances step by step. Returns (repeats, LSTMs, rows, hidden)."""
        found = kernels(products.device.index)
        if found is None:
            raise RuntimeError("KernelOutputs without its kernels")
        products, biases, weights = _dense(products), biases.contiguous(), hidden_weights.contiguous()
        outputs = products.new_empty(*products.shape[:3], HIDDEN)
        keep = any(ctx.needs_input_grad)
        cells, gates = map(torch.empty_like, (outputs, products) if keep else (outputs[:0], products[:0]))
        repeats, lstms, rows = products.shape[:3]
        blocks = repeats * lstms * -(-counts[0] // UTTERANCES)
        distances = [stride // (4 * HIDDEN) for stride in products.stride()[:3]]
        sizes = repeats, lstms, len(counts), rows, *distances
        given = (products, biases, weights, firsts, outputs, cells, gates, int(keep))
        found.forward(blocks, SHARED["forward"], *given, *sizes)
        if keep:
            ctx.counts, ctx.launch, ctx.kernel = counts, (blocks, sizes), found.backward
            ctx.save_for_backward(weights, firsts, outputs, cells, gates)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """of_outputs: as the outputs."""
        weights, firsts, outputs, cells, gates = ctx.saved_tensors
        of_products = torch.empty_like(gates)
        blocks, sizes = ctx.launch
        given = (of_outputs.contiguous(), weights, firsts, cells, gates, of_products)
        ctx.kernel(blocks, SHARED["backward"], *given, *sizes)
        if of_products.is_contiguous():
            flat, previous = of_products.flatten(0, 1), previous_outputs(ctx.counts, outputs.flatten(0, 1))
            of_weights = sum_of_products(flat, previous).view_as(weights)
        else:
            # LSTM by LSTM, because rows of those that read the same frames alternate in memory.
            pairs = zip(of_products.unbind(1), outputs.unbind(1), strict=True)
            each = [sum_of_products(own, previous_outputs(ctx.counts, output)) for own, output in pairs]
            of_weights = torch.stack(each, dim=1)
        return None, None, of_products.sum(dim=2), of_weights, of_products


def _dense(products: Tensor) -> Tensor:
    """Return products as they are or, if they do not fill their memory with whole rows, a copy."""
    whole = products.stride(3) == 1 and all(stride % (4 * HIDDEN) == 0 for stride in products.stride()[:3])
    # On the device without data, because a validation pass has gigabytes of products.
    dense = torch.empty_like(products, device="meta").stride() == products.stride()
    return products if whole and dense else products.contiguous()
