"""Which device a training or evaluation job computes on, and with how many threads (DESIGN section 8)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

SLOTS_VARIABLE = "NMER_GPU_SLOTS"
"""Environment variable with the number of GPU slots of this invocation (Snakemake's ``--resources gpu=N``)."""


@contextmanager
def compute_device(gpus: int, threads: int, lock_folder: Path) -> Iterator:
    """Yield the torch device of this job, held until the block ends.

    gpus: GPUs granted to the job; 0, or a machine without a GPU, means the CPU. threads: CPU threads, so that
    results do not depend on how many cores happen to be free. lock_folder: where concurrent jobs of one machine
    lock their slots; the kernel releases a lock when its process dies.
    """
    import torch

    torch.set_num_threads(threads)
    if not gpus or not torch.cuda.is_available():
        yield torch.device("cpu")
        return
    # The CPU's algorithms are deterministic as they are, and the call imports a compiler that takes seconds.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    slots = max(int(os.environ.get(SLOTS_VARIABLE, "0")), torch.cuda.device_count())
    with _slot(slots, lock_folder) as slot:
        yield torch.device("cuda", slot % torch.cuda.device_count())


@contextmanager
def _slot(slots: int, folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for slot in range(slots):
            lock = FileLock(folder / f"gpu{slot}.lock")
            try:
                lock.acquire(timeout=0.2)
            except Timeout:
                continue
            try:
                yield slot
            finally:
                lock.release()
            return
