"""Which device a training or evaluation job computes on, and with how many threads."""

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

0: a scheduler has chosen this job's GPU, there is nothing to lock. Absent: as many slots as devices.
"""


def announce_slots(granted: int | None, scheduled: bool) -> None:
    """Tell the steps of this invocation how many GPU slots there are.

    granted: Snakemake's ``--resources gpu=N``, if given. scheduled: whether a scheduler runs this one job here.
    """
    os.environ.pop(SLOTS_VARIABLE, None)  # a scheduler hands on what was true where the job was submitted
    if scheduled and os.environ.get("CUDA_VISIBLE_DEVICES"):
        os.environ[SLOTS_VARIABLE] = "0"
    elif not scheduled and granted is not None:
        os.environ[SLOTS_VARIABLE] = str(granted)


@contextmanager
def compute_device(gpus: int, threads: int, locks: Path = LOCKS) -> Iterator[torch.device]:
    """Yield the torch device of this job, held until the block ends.

    gpus: GPUs granted to the job; 0, or a machine without a GPU, means the CPU. threads: CPU threads, so that
    results do not depend on how many cores happen to be free. locks: where the jobs of one user on one machine, of
    any invocation, lock their slots; the kernel releases a lock when its process dies.
    """
    import torch

    torch.set_num_threads(threads)
    if not gpus or not torch.cuda.is_available():
        yield torch.device("cpu")
        return
    # The CPU's algorithms are deterministic by default.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same as use_deterministic_algorithms(warn_only), which imports a compiler that takes five seconds.
    torch.set_deterministic_debug_mode("warn")
    # For looking for faults: what is made empty would be filled, one kernel each.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010, not among its types
    set_product_precision("ieee")
    devices = device_names(torch.cuda.device_count())
    slots = int(os.environ.get(SLOTS_VARIABLE, len(devices)))
    if not slots:
        yield torch.device("cuda", 0)
        return
    with locked_slot(devices, max(slots, len(devices)), locks) as device:
        yield torch.device("cuda", device)


def set_product_precision(precision: str) -> str:
    """Set how many digits a GPU's products keep in single precision; returns what was set before.

    precision: ``ieee``, all of them, or ``tf32``. Every backend is set by itself: those of cuDNN default to TF32, and
    the setting for all does not reach its LSTMs (torch 2.11).
    """
    import torch

    backends: Any = torch.backends  # its types do not know of precisions yet
    before: str = backends.cuda.matmul.fp32_precision
    for backend in (backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn):
        backend.fp32_precision = precision
    return before


def device_names(count: int) -> list[str]:
    """What the machine calls the devices that this process sees, so that a device has one name in every process."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[:count] if len(visible) >= count else [str(number) for number in range(count)]
