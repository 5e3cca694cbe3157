"""Check CUDA graphs, stacked repeats and precision of every system on a GPU.

Trains every system for a few epochs on a synthetic corpus in the shape of IEMOCAP, on the same GPU:
  - graphs: replayed steps compared with plain ones; the draws are the same, so losses differ only by rounding;
  - stacked: stacked repeats compared with one repeat after another; large where rounding grows, as in MMIN;
  - twice: the same training again, which must be equal bit for bit;
  - products: kernels of a profiled step with reduced precision (tf32) in their names, under precision float32.
Prints a Markdown table of the largest relative differences of losses, and fails if a bound is exceeded.

Example: .venv/bin/python benchmarks/gpu_check.py
         .venv/bin/python benchmarks/gpu_check.py men mctn
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import feature_store
import gpu
import training

EPOCHS = 3
REPEATS = [1, 2]
COLUMNS = ("system", "graphs", "stacked", "twice", "products in tf32", "captured")
UTTERANCES = 500
GRAPHS_BOUND = 1e-3
"""Bound of the relative difference of losses between replayed and plain steps."""


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", choices=[*gpu.SYSTEMS, []], default=list(gpu.SYSTEMS))
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    arguments = parser.parse_args()
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    import torch

    if not torch.cuda.is_available():
        sys.exit("error: this machine has no GPU that PyTorch can use.")
    from nmer.devices import compute_device

    arguments.folder.mkdir(parents=True, exist_ok=True)
    broken = []
    gpu.head(COLUMNS)
    with compute_device(1, 4) as device, tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        files = training.make_files(Path(folder), "iemocap", UTTERANCES, 60)
        for system in arguments.systems:
            graphs, stacked, twice, products, captured = check(system, files, device)
            if graphs > GRAPHS_BOUND or twice or products or not captured:
                broken.append(system)
            gpu.row(system, f"{graphs:.1e}", f"{stacked:.1e}", f"{twice:.1e}", products, captured)
    if broken:
        sys.exit(f"error: {', '.join(broken)}: see the table.")


def check(system: str, files: tuple[Path, Path], device) -> tuple[float, float, float, int, int]:
    """Return the largest relative differences of losses, and the numbers of tf32 kernels and captured graphs."""
    from torch.profiler import ProfilerActivity, profile

    replayed, learner = trained(system, files, device)
    plain, _ = trained(system, files, device, graphs="never")
    again, _ = trained(system, files, device)
    single, _ = trained(system, files, device, stacked=False)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        learner.train_epoch(EPOCHS, 1e-4)
    names = [event.key for event in profiled.key_averages()]
    products = sum("tf32f32" in name or "s1688" in name or "tensorop_s" in name for name in names)
    return (
        difference(replayed, plain),
        difference(replayed, single),
        difference(replayed, again),
        products,
        len(learner._graphs._captured),
    )


def trained(system: str, files: tuple[Path, Path], device, graphs: str = "where_faster", stacked: bool = True):
    """Train and return the histories of all repeats, and the learner."""
    import torch

    from nmer.plan.settings import RunSettings, TrainingSettings
    from nmer.systems.building import build_system
    from nmer.training.data import FoldData
    from nmer.training.loop import fit
    from nmer.training.one_by_one import OneByOne
    from nmer.training.stacked import Stacked

    shape = training.CORPORA["iemocap"]
    data = FoldData(*files, 1, device)
    regime = "clean" if system in gpu.PRETRAININGS else "all_noisy" if system in gpu.UNIMODAL else "incomplete"
    options = TrainingSettings(constant_epochs=EPOCHS, decay_epochs=0, graphs=graphs)
    settings = RunSettings("iemocap", system, regime, 1, len(REPEATS), training=options)

    def built(name: str):
        return build_system(name, shape.dims, shape.classes, options.dropout)

    def teacher(repeat: int):
        torch.manual_seed(100 + repeat)
        return built(gpu.TEACHERS[system]).to(device).requires_grad_(False).eval()

    teachers = {repeat: teacher(repeat) for repeat in REPEATS} if system in gpu.TEACHERS else {}
    if stacked:
        learner = Stacked(lambda: built(system), data, settings, REPEATS, teachers)
        found = fit(learner, settings)
    else:
        found = {}
        for repeat in REPEATS:
            learner = OneByOne(lambda: built(system), data, settings, repeat, teachers.get(repeat))
            found |= fit(learner, settings)
    return {repeat: [row["loss"] for row in history] for repeat, (_weights, history) in found.items()}, learner


def difference(first: dict[int, list[float]], second: dict[int, list[float]]) -> float:
    """Return the largest relative difference of two trainings' losses."""
    pairs = [(a, b) for repeat in first for a, b in zip(first[repeat], second[repeat], strict=True)]
    return max(abs(a - b) / abs(b) for a, b in pairs)


if __name__ == "__main__":
    main()
