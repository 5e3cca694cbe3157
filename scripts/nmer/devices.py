"""Choose the device and the number of threads of a training or evaluation job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmer.locks import LOCKS, locked_slot

if TYPE_CHECKING:
    import torch

SLOTS_VARIABLE = "NMER_GPU_SLOTS"
"""Environment variable with the number of GPU slots of this invocation.

0: a scheduler has chosen this job's GPU, so nothing is locked. Unset: as many slots as devices.
"""


def announce_slots(granted: int | None, scheduled: bool) -> None:
    """Pass the number of GPU slots to the steps of this invocation.

    granted: Snakemake's ``--resources gpu=N``, if given. scheduled: whether a scheduler runs this one job here.
    """
    os.environ.pop(SLOTS_VARIABLE, None)  # a scheduler passes on the value of the submitting machine
    if scheduled and os.environ.get("CUDA_VISIBLE_DEVICES"):
        os.environ[SLOTS_VARIABLE] = "0"
    elif not scheduled and granted is not None:
        os.environ[SLOTS_VARIABLE] = str(granted)


@contextmanager
def compute_device(gpus: int, threads: int, locks: Path = LOCKS) -> Iterator[torch.device]:
    """Yield the torch device of this job and hold it until the block ends.

    gpus: GPUs granted to the job; with 0, or on a machine without a GPU, the job uses the CPU. threads: CPU threads,
    set explicitly so that results do not depend on the number of free cores. locks: folder in which the jobs of one
    user on one machine, from any invocation, lock their slots. The kernel releases a lock when its process dies.
    """
    import torch

    torch.set_num_threads(threads)
    if not gpus or not torch.cuda.is_available():
        yield torch.device("cpu")
        return
    # Algorithms on the CPU are deterministic by default.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Same as use_deterministic_algorithms(warn_only), which spends five seconds importing a compiler.
    torch.set_deterministic_debug_mode("warn")
    # A debugging aid that fills every empty tensor, at the cost of one kernel each.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010, not among its types
    set_product_precision("ieee")
    devices = device_names(torch.cuda.device_count())
    slots = int(os.environ.get(SLOTS_VARIABLE, len(devices)))
    if not slots:
        yield torch.device("cuda", 0)
        return
    # Streams and kernels that are not PyTorch's belong to the current device.
    with locked_slot(devices, max(slots, len(devices)), locks) as device, torch.cuda.device(device):
        yield torch.device("cuda", device)


def set_product_precision(precision: str) -> str:
    """Set the precision of single-precision products on a GPU; return the previous setting.

    precision: ``ieee`` (full) or ``tf32``. Every backend is set individually, because those of cuDNN default to TF32
    and the global setting does not reach its LSTMs (torch 2.11).
    """
    import torch

    backends: Any = torch.backends  # its type stubs lack precisions
    before: str = backends.cuda.matmul.fp32_precision
    for backend in (backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn):
        backend.fp32_precision = precision
    return before


def device_names(count: int) -> list[str]:
    """Return the machine's names of the visible devices, so that a device has the same name in every process."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[:count] if len(visible) >= count else [str(number) for number in range(count)]
