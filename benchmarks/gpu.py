"""How fast a GPU trains the paper's systems, one repeat or several as one, and how many hours the paper's grid takes.

For synthetic corpora in the shapes of IEMOCAP and CMU-MOSEI, which lie in the GPU's memory, every system of the grid
trains with 1, 3 and 10 repeats as one:
  - steps a second: of 128 utterances of each repeat, the first, slower ones not counted;
  - to one repeat: what such a step costs beside that of one repeat, which is the gain: three trained one by one cost 3;
  - launching: share of a step until the program has started its last kernel. Near 1 the GPU waits for the program;
  - validation: of every utterance of the real corpus, under its conditions, one repeat.
From the steps and validations with three repeats it adds up the hours of `experiment=paper` on this device, job after
job, reading, starting and evaluating not included. Prints two Markdown tables.

Example: .venv/bin/python benchmarks/gpu.py
         .venv/bin/python benchmarks/gpu.py --device cpu --steps 1 --rounds 1 --systems mmin --repeats 1 3
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import feature_store
import training
import yaml

PRETRAININGS = ("men", "shared", "two_tower")
UNIMODAL = ("unimodal_a", "unimodal_v", "unimodal_l")
TEACHERS = {
    "mmin": "men",
    "if_mmin": "shared",
    "nmer": "two_tower",
    "nmer_no_vae": "two_tower",
    "nmer_no_inv": "two_tower",
}
SYSTEMS = (*PRETRAININGS, "mctn", *TEACHERS, *UNIMODAL)
SPEED_COLUMNS = (
    "corpus",
    "system",
    "repeats",
    "steps a second",
    "to one repeat",
    "launching",
    "validation, ms",
    "memory, MB",
)
HOURS_COLUMNS = ("corpus", "system", "jobs", "hours")
REPEATS_OF_THE_GRID = 3


def main() -> None:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="epochs that count")
    parser.add_argument("--corpora", nargs="+", choices=training.CORPORA, default=list(training.CORPORA))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--repeats", nargs="+", type=int, default=[1, REPEATS_OF_THE_GRID, 10])
    arguments = parser.parse_args()
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "error: this machine has no GPU that PyTorch can use. Try --device cpu, for the way and not the figures."
        )
    from nmer.devices import compute_device

    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(SPEED_COLUMNS)} |\n|{'---|' * len(SPEED_COLUMNS)}")
    seconds = {}
    # As a training job has it.
    with compute_device(int(arguments.device == "cuda"), torch.get_num_threads()) as device:
        for corpus in arguments.corpora:
            shape = training.CORPORA[corpus]
            with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
                files = training.make_files(Path(folder), corpus, training.BATCH * arguments.steps, shape.validated)
                alone: dict[str, float] = {}
                for system, repeats in itertools.product(arguments.systems, arguments.repeats):
                    step, launching, validation, memory = measure(corpus, system, repeats, files, device, arguments)
                    alone.setdefault(system, step)
                    if repeats == REPEATS_OF_THE_GRID:
                        seconds[corpus, system] = (step, validation)
                    row = [corpus, system, str(repeats), f"{1 / step:.3g}", f"{step / alone[system]:.2f}"]
                    row += [f"{launching:.2f}", f"{1000 * validation:.3g}", f"{memory:.0f}"]
                    print(f"| {' | '.join(row)} |", flush=True)
    print_hours(seconds)


def measure(corpus: str, system: str, repeats: int, files: tuple[Path, Path], device, arguments) -> tuple[float, ...]:
    """Seconds of a step and of a validation of one repeat, the share of launching, megabytes of the GPU's memory."""
    import torch

    from nmer.plan.settings import RunSettings, TrainingSettings
    from nmer.systems.building import build_system
    from nmer.systems.repeats import drawn_alike
    from nmer.training.batches import shown_in_epoch
    from nmer.training.data import FoldData
    from nmer.training.loop import train_epoch, validate
    from nmer.training.optimiser import AdamW
    from nmer.training.targets import TeacherTargets
    from nmer.training.together import SystemsTogether

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    shape = training.CORPORA[corpus]
    data = FoldData(*files, 1, device)
    regime = "clean" if system in PRETRAININGS else "all" if system in UNIMODAL else "six"
    options = TrainingSettings()
    settings = RunSettings(corpus, system, regime, 1, repeats, evaluation=shape.evaluation, training=options)

    def built(name: str):
        return build_system(name, shape.dims, shape.classes, options.dropout).to(device)

    systems = [built(system) for _ in range(repeats)]
    teacher = TEACHERS.get(system)
    targets = [TeacherTargets(built(teacher).requires_grad_(False), data) for _ in systems] if teacher else []
    together = SystemsTogether(systems, device) if repeats > 1 else None
    parameters = together.parameters.values() if together else systems[0].parameters()
    optimiser = AdamW(parameters, options.learning_rate, options.weight_decay)
    whole, launched, validated = [], [], []
    for epoch in range(arguments.rounds + 1):
        with noting_reads() as reads:
            start = time.perf_counter()
            if together:
                shown = shown_in_epoch(data, settings, list(range(repeats)), epoch)
                together.train_epoch(optimiser, data, settings, shown, targets)
            else:
                with drawn_alike(device):
                    train_epoch(systems[0], optimiser, data, settings, 1, epoch, targets[0] if targets else None)
            whole.append(time.perf_counter() - start)
        launched.append(reads[0] - start)
        start = time.perf_counter()
        validate(systems[0], data, settings)
        validated.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    # The first epoch makes kernels and a teacher's encodings.
    step = statistics.median(whole[1:]) / arguments.steps
    share = statistics.median(first / all_ for first, all_ in zip(launched[1:], whole[1:], strict=True))
    return step, share, statistics.median(validated[1:]), memory / 1e6


@contextmanager
def noting_reads():
    """Note when the program asks the device for numbers, which is where it waits."""
    import torch

    whole, times = torch.Tensor.cpu, []
    torch.Tensor.cpu = lambda tensor: times.append(time.perf_counter()) or whole(tensor)
    try:
        yield times
    finally:
        torch.Tensor.cpu = whole


def print_hours(seconds: dict[tuple[str, str], tuple[float, float]]) -> None:
    """The paper's grid on this device, from seconds of a step of three repeats and of a validation of one."""
    from nmer.plan.plan import Plan
    from nmer.plan.settings import PRETRAINING, TrainingSettings

    config = yaml.safe_load((feature_store.REPOSITORY / "config.yaml").read_text())
    for dataset in training.CORPORA:
        # As if they were made: the plan then looks for no files.
        del config["datasets"][dataset]["path"]
        config["datasets"][dataset]["generate"] = {}
    grid = Plan(config | {"experiment": "paper"})
    counted = Counter((run.dataset, run.system) for run in grid.trainings())
    print(f"\n| {' | '.join(HOURS_COLUMNS)} |\n|{'---|' * len(HOURS_COLUMNS)}")
    total = 0.0
    for (corpus, system), (step, validation) in seconds.items():
        epochs = (PRETRAINING if system in PRETRAININGS else TrainingSettings()).epochs
        steps = -(-training.CORPORA[corpus].training // training.BATCH)
        hours = counted[corpus, system] * epochs * (steps * step + REPEATS_OF_THE_GRID * validation) / 3600
        total += hours
        print(f"| {corpus} | {system} | {counted[corpus, system]} | {hours:.2f} |")
    print(f"| all | | {sum(counted[key] for key in seconds)} of {sum(counted.values())} | {total:.2f} |")


if __name__ == "__main__":
    main()
