"""CUDA kernels of this package, compiled when they are first used by CUDA's run-time compiler.

PyTorch's CUDA packages install that compiler. If kernels cannot be compiled, the framework's operators give the same
results.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Kernel = Callable[..., None]
"""A compiled kernel. Arguments: number of blocks, floats of shared memory, then its own, tensors or whole numbers."""


@functools.cache
def compiled(_device: int, what: str, source: str, names: tuple[str, ...], threads: int, floats: int) -> list[Kernel]:
    """Compile kernels for the current device. Return [], after a warning, if that is impossible.

    _device: its index, because every device needs its own. what: they compute, for the warning. names: of the kernels.
    threads: of a block. floats: most shared memory of a block.
    """
    try:
        return _compiled(source, names, threads, floats)
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        print(
            f"warning: {what} is slower than with its CUDA kernels, because {reason}. The packages cuda-bindings and "
            "nvidia-cuda-nvrtc provide their compiler.",
            file=sys.stderr,
        )
        return []


def _compiled(source: str, names: tuple[str, ...], threads: int, floats: int) -> list[Kernel]:
    """Raises ImportError without the packages, RuntimeError with the compiler's or the device's message."""
    if torch.version.hip:
        raise RuntimeError("they are written for NVIDIA's GPUs")
    from cuda.bindings import driver, nvrtc

    def checked(found: tuple[Any, ...]) -> Any:
        status, *results = found
        if status.value:
            raise RuntimeError(f"CUDA reports {status.name}")
        return results[0] if results else None

    def launch(function: Any, blocks: int, floats: int, *arguments: Tensor | int) -> None:
        values = tuple(each.data_ptr() if isinstance(each, Tensor) else each for each in arguments)
        types = tuple(ctypes.c_void_p if isinstance(each, Tensor) else ctypes.c_int for each in arguments)
        stream = torch.cuda.current_stream().cuda_stream
        sizes = (blocks, 1, 1, threads, 1, 1, 4 * floats)
        checked(driver.cuLaunchKernel(function, *sizes, stream, (values, types), 0))

    major, minor = torch.cuda.get_device_capability()
    program = checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    try:
        checked(nvrtc.nvrtcCompileProgram(program, 1, [f"--gpu-architecture=sm_{major}{minor}".encode()]))
        binary = bytes(checked(nvrtc.nvrtcGetCUBINSize(program)))
        checked(nvrtc.nvrtcGetCUBIN(program, binary))
    finally:
        checked(nvrtc.nvrtcDestroyProgram(program))
    module = checked(driver.cuModuleLoadData(binary))
    functions = [checked(driver.cuModuleGetFunction(module, name.encode())) for name in names]
    largest = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    for function in functions:
        (status,) = driver.cuFuncSetAttribute(function, largest, 4 * floats)
        if status.value:
            raise RuntimeError(f"a block of this GPU has less than {4 * floats} bytes of shared memory")
    return [functools.partial(launch, function) for function in functions]
