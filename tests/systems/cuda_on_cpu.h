// Runs CUDA kernels on a CPU, one block after another. The threads of a block take turns at every exchange.
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __device__ static
#define __global__
#define __shared__
#define __launch_bounds__(...)

struct float4 { float x, y, z, w; };
struct Index { int x; };
static Index threadIdx, blockIdx, gridDim;
alignas(16) float shared[96 * 1024 / 4];

static constexpr int STACK = 64 * 1024;
static ucontext_t scheduler;
static std::vector<ucontext_t> threads;
static std::vector<bool> running;
static std::vector<float> exchanged;
static size_t arrived;
static std::function<void()> kernel;

static void turn() { swapcontext(&threads[threadIdx.x], &scheduler); }

static void __syncthreads() {
    const size_t last = threads.size() * (arrived / threads.size() + 1);
    ++arrived;
    while (arrived < last) turn();
}

// The lanes of a warp reach the same exchanges in the same order, so one turn of all threads is a warp's barrier.
static float __shfl_xor_sync(unsigned, float value, int apart) {
    const int own = threadIdx.x;
    exchanged[own] = value;
    turn();
    const float found = exchanged[own ^ apart];
    turn();
    return found;
}

static void start() {
    kernel();
    running[threadIdx.x] = false;
}

// A value of shared memory that no thread has written is not a number. Stops if more is written than the block has.
static void launch(int blocks, int size, int floats, std::function<void()> given) {
    kernel = given;
    gridDim.x = blocks;
    const auto stacks = std::make_unique<char[]>(static_cast<size_t>(size) * STACK);
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        std::fill(std::begin(shared), std::end(shared), std::numeric_limits<float>::quiet_NaN());
        threads.assign(size, {});
        running.assign(size, true);
        exchanged.assign(size, 0.0f);
        arrived = 0;
        for (int number = 0; number < size; ++number) {
            getcontext(&threads[number]);
            threads[number].uc_stack = {stacks.get() + static_cast<size_t>(number) * STACK, 0, STACK};
            threads[number].uc_link = &scheduler;
            makecontext(&threads[number], start, 0);
        }
        for (bool any = true; any;) {
            any = false;
            for (int number = 0; number < size; ++number) {
                if (!running[number]) continue;
                threadIdx.x = number;
                swapcontext(&scheduler, &threads[number]);
                any = any || running[number];
            }
        }
        for (const float* beyond = shared + floats; beyond < std::end(shared); ++beyond)
            if (!std::isnan(*beyond)) std::abort();
    }
}
