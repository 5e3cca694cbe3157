"""Additive attention of a decoder's step in one CUDA kernel, with its gradients: the form for a GPU (SPEC 4.6).

The framework's operators pass over arrays of (rows, longest, hidden) twelve times in a step, padding included. These
kernels read keys and values of the valid frames only, and compute the sigmoids again in the backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmer.systems.blocks.cuda_kernels import Kernel, compiled

LANES, WARPS, HIDDEN = 32, 16, 128
"""Threads of a warp; warps of a block, which share the frames of a row; width of keys and values."""

MOST_FRAMES = 48 * 1024 // 4 - WARPS * HIDDEN
"""Frames of a row whose scores fit a block's shared memory of 48 kB."""

SOURCE = r"""
constexpr int LANES = 32, WARPS = 16, HIDDEN = 128;

__device__ float sum_of_warp(float value) {
    for (int apart = LANES / 2; apart; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
    return value;
}

__device__ float maximum_of_warp(float value) {
    for (int apart = LANES / 2; apart; apart /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, apart));
    return value;
}

__device__ float sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }

__device__ float4 squashed(float4 key, float4 query) {
    return {sigmoid(key.x + query.x), sigmoid(key.y + query.y), sigmoid(key.z + query.z), sigmoid(key.w + query.w)};
}

__device__ float product(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }

__device__ void add(float4& total, float factor, float4 value) {
    total.x += factor * value.x;
    total.y += factor * value.y;
    total.z += factor * value.z;
    total.w += factor * value.w;
}

__device__ float4 slopes(float4 s) { return {s.x * (1 - s.x), s.y * (1 - s.y), s.z * (1 - s.z), s.w * (1 - s.w)}; }

__device__ float4 read(const float* from) { return reinterpret_cast<const float4*>(from)[threadIdx.x % LANES]; }

__device__ void write(float* to, float4 value) { reinterpret_cast<float4*>(to)[threadIdx.x % LANES] = value; }

// Sums the warps' parts, always in the same order. parts: (WARPS, HIDDEN), shared.
__device__ void sum_of_block(float* parts, float4 own, float* to) {
    write(parts + threadIdx.x / LANES * HIDDEN, own);
    __syncthreads();
    if (threadIdx.x < HIDDEN) {
        float total = 0.0f;
        for (int warp = 0; warp < WARPS; ++warp) total += parts[warp * HIDDEN + threadIdx.x];
        to[threadIdx.x] = total;
    }
}

// One block for each row. keys, values: (frames, HIDDEN). A row has lengths[row] of these, the one of each step at
// firsts[row] + offsets[step]. queries, contexts: HIDDEN numbers of every row at the given distance. score: (rows /
// rows_of_a_score, HIDDEN). weights: (rows, longest), undefined beyond each length.
extern "C" __global__ void attend(
    const float* keys, const float* values, const long long* lengths, const long long* firsts,
    const long long* offsets, const float* queries, const float* score, float* weights, float* contexts, int longest,
    int rows_of_a_score, int query_distance, int context_distance
) {
    extern __shared__ float shared[];
    float *parts = shared, *scores = shared + WARPS * HIDDEN;
    const int row = blockIdx.x, length = lengths[row], lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    const long long first = firsts[row];
    weights += static_cast<size_t>(row) * longest;
    const float4 query = read(queries + static_cast<size_t>(row) * query_distance);
    const float4 factors = read(score + row / rows_of_a_score * HIDDEN);
    for (int frame = warp; frame < length; frame += WARPS) {
        const float4 key = read(keys + (first + offsets[frame]) * HIDDEN);
        const float found = sum_of_warp(product(factors, squashed(key, query)));
        if (lane == 0) scores[frame] = found;
    }
    __syncthreads();
    float most = scores[0], total = 0.0f;
    for (int frame = lane; frame < length; frame += LANES) most = fmaxf(most, scores[frame]);
    most = maximum_of_warp(most);
    for (int frame = lane; frame < length; frame += LANES) total += expf(scores[frame] - most);
    total = sum_of_warp(total);
    float4 context = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int frame = warp; frame < length; frame += WARPS) {
        const float weight = expf(scores[frame] - most) / total;
        add(context, weight, read(values + (first + offsets[frame]) * HIDDEN));
        if (lane == 0) weights[frame] = weight;
    }
    sum_of_block(parts, context, contexts + static_cast<size_t>(row) * context_distance);
}

// Gradients of the scores, (rows, longest), and of the queries without the factor of the score weights.
extern "C" __global__ void attend_backward(
    const float* keys, const float* values, const long long* lengths, const long long* firsts,
    const long long* offsets, const float* queries, const float* weights, const float* of_contexts, float* of_scores,
    float* of_queries, int longest, int query_distance, int context_distance, int of_query_distance
) {
    extern __shared__ float shared[];
    float *parts = shared, *of_weights = shared + WARPS * HIDDEN;
    const int row = blockIdx.x, length = lengths[row], lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    const long long first = firsts[row];
    weights += static_cast<size_t>(row) * longest;
    const float4 query = read(queries + static_cast<size_t>(row) * query_distance);
    const float4 of_context = read(of_contexts + static_cast<size_t>(row) * context_distance);
    for (int frame = warp; frame < length; frame += WARPS) {
        const float found = sum_of_warp(product(of_context, read(values + (first + offsets[frame]) * HIDDEN)));
        if (lane == 0) of_weights[frame] = found;
    }
    __syncthreads();
    float mean = 0.0f;
    for (int frame = lane; frame < length; frame += LANES) mean += weights[frame] * of_weights[frame];
    mean = sum_of_warp(mean);
    float4 of_query = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int frame = warp; frame < length; frame += WARPS) {
        const float of_score = weights[frame] * (of_weights[frame] - mean);
        add(of_query, of_score, slopes(squashed(read(keys + (first + offsets[frame]) * HIDDEN), query)));
        if (lane == 0) of_scores[static_cast<size_t>(row) * longest + frame] = of_score;
    }
    sum_of_block(parts, of_query, of_queries + static_cast<size_t>(row) * of_query_distance);
}

// Gradients of keys, values and, for every row, of the score weights, from all steps. Frames of no row are not written.
// queries, of_contexts: HIDDEN numbers of every step of every row at the given distances. weights, of_scores: (steps,
// rows, longest).
extern "C" __global__ void attend_gradients(
    const float* keys, const long long* lengths, const long long* firsts, const long long* offsets,
    const float* queries, const float* score, const float* weights, const float* of_scores, const float* of_contexts,
    float* of_keys, float* of_values, float* of_rows, int steps, int longest, int rows_of_a_score, int query_step,
    int query_distance, int context_step, int context_distance
) {
    extern __shared__ float shared[];
    const int row = blockIdx.x, length = lengths[row], warp = threadIdx.x / LANES;
    const float4 factors = read(score + row / rows_of_a_score * HIDDEN);
    queries += static_cast<size_t>(row) * query_distance;
    of_contexts += static_cast<size_t>(row) * context_distance;
    float4 of_row = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int frame = warp; frame < length; frame += WARPS) {
        const size_t at = (firsts[row] + offsets[frame]) * HIDDEN;
        const float4 key = read(keys + at);
        float4 of_key = {0.0f, 0.0f, 0.0f, 0.0f}, of_value = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int step = 0; step < steps; ++step) {
            const size_t place = (static_cast<size_t>(step) * gridDim.x + row) * longest + frame;
            const float of_score = of_scores[place];
            const float4 found = squashed(key, read(queries + static_cast<size_t>(step) * query_step));
            add(of_key, of_score, slopes(found));
            add(of_row, of_score, found);
            add(of_value, weights[place], read(of_contexts + static_cast<size_t>(step) * context_step));
        }
        write(of_keys + at, {of_key.x * factors.x, of_key.y * factors.y, of_key.z * factors.z, of_key.w * factors.w});
        write(of_values + at, of_value);
    }
    sum_of_block(shared, of_row, of_rows + static_cast<size_t>(row) * HIDDEN);
}
"""


class Kernels(NamedTuple):
    """The kernels of :data:`SOURCE`, named as there."""

    attend: Kernel
    attend_backward: Kernel
    attend_gradients: Kernel


def fuses(values: Tensor, longest: int) -> bool:
    """Whether the kernels compute attention over values, (..., hidden), of which a row has at most ``longest``."""
    fits = values.dtype == torch.float32 and values.shape[-1] == HIDDEN and longest <= MOST_FRAMES
    return values.is_cuda and fits and kernels(values.device.index) is not None


def kernels(device: int) -> Kernels | None:
    """Return the kernels for the current device, None if they cannot be compiled."""
    found = compiled(device, "attention", SOURCE, Kernels._fields, LANES * WARPS, WARPS * HIDDEN + MOST_FRAMES)
    return Kernels(*found) if found else None


class FusedAttention:
    """:class:`~nmer.systems.blocks.additive_attention.AdditiveAttention` on a GPU, with the same methods."""

    TENSORS = 5
    """Number of tensors that describe a memory."""

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
        firsts: Tensor,
        offsets: Tensor,
        *,
        scores: Tensor,
        steps: int,
    ) -> None:
        """keys, values: (frames, hidden). lengths, firsts: (rows,). offsets: (longest,). A row's frame at each step has
        the index ``firsts[row] + offsets[step]``. scores, steps: as in :class:`AdditiveAttention`."""
        found = kernels(keys.device.index)
        if found is None:
            raise RuntimeError("FusedAttention without its kernels")
        self._kernels = found
        self._keys, self._values, self._scores = keys.contiguous(), values.contiguous(), scores.contiguous()
        self._frames = [part.to(torch.int64).contiguous() for part in (lengths, firsts, offsets)]
        self._rows, self._longest = len(lengths), len(offsets)
        self._rows_of_a_score = self._rows // len(scores)
        self._weights = keys.new_empty(steps, self._rows, self._longest)
        self._of_scores = self._weights.new_empty(0)
        self._queries = [keys.new_empty(0)] * steps

    def context(self, query: Tensor, step: int, context: Tensor) -> None:
        """Write the sum of the values weighted by the softmax of the scores to ``context``. query, context: (rows,
        hidden)."""
        self._queries[step] = query
        self._kernels.attend(
            self._rows,
            WARPS * HIDDEN + self._longest,
            self._keys,
            self._values,
            *self._frames,
            query,
            self._scores,
            self._weights[step],
            context,
            self._longest,
            self._rows_of_a_score,
            query.stride(0),
            context.stride(0),
        )

    def query_gradient(self, of_context: Tensor, step: int, of_query: Tensor) -> None:
        """Write the gradient of a step's query, without the factor of the score weights, from that of its context,
        (rows, hidden) both."""
        if not self._of_scores.numel():
            self._of_scores = torch.empty_like(self._weights)
        query = self._queries[step]
        self._kernels.attend_backward(
            self._rows,
            WARPS * HIDDEN + self._longest,
            self._keys,
            self._values,
            *self._frames,
            query,
            self._weights[step],
            of_context,
            self._of_scores[step],
            of_query,
            self._longest,
            query.stride(0),
            of_context.stride(0),
            of_query.stride(0),
        )

    def gradients(self, of_contexts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of keys, values and score weights, (decoders, hidden), after all steps. of_contexts:
        (rows, steps, hidden)."""
        of_keys, of_values = torch.zeros_like(self._keys), torch.zeros_like(self._values)
        of_rows = self._keys.new_empty(self._rows, HIDDEN)
        queries = torch.stack(self._queries)
        self._kernels.attend_gradients(
            self._rows,
            WARPS * HIDDEN,
            self._keys,
            *self._frames,
            queries,
            self._scores,
            self._weights,
            self._of_scores,
            of_contexts,
            of_keys,
            of_values,
            of_rows,
            len(queries),
            self._longest,
            self._rows_of_a_score,
            queries.stride(0),
            queries.stride(1),
            of_contexts.stride(1),
            of_contexts.stride(0),
        )
        return of_keys, of_values, of_rows.unflatten(0, (len(self._scores), -1)).sum(dim=1)
