"""Kernels that a GPU cannot run end in one warning with the reason."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from nmer.systems.blocks import cuda_kernels, fused_attention, lstm_kernels, maxima_kernels

OK, FAILED = SimpleNamespace(value=0, name="SUCCESS"), SimpleNamespace(value=1, name="CUDA_ERROR_INVALID_VALUE")


@pytest.fixture
def gpu(monkeypatch) -> SimpleNamespace:
    """A GPU whose blocks have 64 kB of shared memory, with a compiler."""

    class Fake(ModuleType):
        def __getattr__(self, name: str):
            return lambda *_given: (OK, 1)

    driver, nvrtc = Fake("driver"), Fake("nvrtc")
    nvrtc.nvrtcCompileProgram = lambda *_given: (OK,)
    driver.CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    driver.cuFuncSetAttribute = lambda _function, _attribute, size: (FAILED if size > 64 * 1024 else OK,)
    bindings = SimpleNamespace(driver=driver, nvrtc=nvrtc)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    cuda_kernels.compiled.cache_clear()
    yield bindings
    cuda_kernels.compiled.cache_clear()


@pytest.mark.parametrize(("floats", "number"), [(16 * 1024, 2), (17 * 1024, 0)], ids=["enough", "too little"])
def test_a_gpu_with_too_little_shared_memory_has_no_kernels_and_says_so(gpu, capsys, floats, number):
    assert len(cuda_kernels.compiled(0, "an LSTM", "", ("one", "two"), 32, floats)) == number
    warning = "because a block of this GPU has less than 69632 bytes of shared memory."
    assert (warning in capsys.readouterr().err) == (not number)


@pytest.mark.parametrize(
    ("module", "what"),
    [(fused_attention, "attention"), (lstm_kernels, "an LSTM"), (maxima_kernels, "the maximum over time")],
    ids=["attention", "LSTM", "maximum"],
)
def test_without_cudas_packages_there_are_no_kernels_and_one_warning(monkeypatch, capsys, module, what):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    cuda_kernels.compiled.cache_clear()
    assert module.kernels(0) is None
    assert module.kernels(0) is None
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {what} is slower than with its CUDA kernels, because")
    cuda_kernels.compiled.cache_clear()


def test_a_compiler_that_fails_is_named_in_the_warning(gpu, capsys):
    gpu.nvrtc.nvrtcCompileProgram = lambda *_given: (SimpleNamespace(value=6, name="NVRTC_ERROR_COMPILATION"),)
    assert cuda_kernels.compiled(0, "an LSTM", "", ("one",), 32, 0) == []
    assert "because CUDA reports NVRTC_ERROR_COMPILATION." in capsys.readouterr().err
