"""Compiles CUDA kernels for the CPU, where the threads of a block take turns."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from torch import Tensor

from nmer.systems.blocks.cuda_kernels import Kernel

KERNEL = re.compile(r"__global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(([^)]*)\)")


def kernels_on_cpu(folder: Path, source: str, names: tuple[str, ...], threads: int, most_floats: int) -> list[Kernel]:
    """The kernels of CUDA source. Skips the test without a compiler. threads: of a block. most_floats: of its shared
    memory."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    callers = []
    for name, parameters in KERNEL.findall(source):
        given = ", ".join(re.findall(r"(\w+)(?:,|\s*$)", parameters))
        body = f"launch(blocks, {threads}, floats, [=] {{ {name}({given}); }});"
        callers.append(f'extern "C" void run_{name}(int blocks, int floats, {parameters}) {{ {body} }}')
    header = (Path(__file__).parent / "cuda_on_cpu.h").read_text()
    (folder / "kernels.cpp").write_text("\n".join([header, source, *callers]))
    subprocess.run(
        [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-o", "kernels.so", "kernels.cpp"], cwd=folder, check=True
    )
    library = ctypes.CDLL(str(folder / "kernels.so"))

    def caller(name: str) -> Kernel:
        def call(blocks: int, floats: int, *arguments: Tensor | int) -> None:
            assert floats <= most_floats
            given = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_int(a) for a in arguments]
            getattr(library, f"run_{name}")(blocks, floats, *given)

        return call

    return list(map(caller, names))
