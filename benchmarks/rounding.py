"""Measure how fast a difference of one rounding grows in the training of each system.

Every system is trained twice on a synthetic corpus in the shape of IEMOCAP or CMU-MOSEI, with the same batches,
conditions and dropout. The second copy starts with every weight changed by a relative 1e-7, up or down at random,
computed in double precision and cast back to float32. Neighbouring float32 numbers are a relative 6e-8 to 1.2e-7 apart,
so every weight except 0 moves by one or two of them: as much as one rounding can change it.
Prints a Markdown table, means over the repeats and their range:
  - loss: of the first step;
  - apart after N steps: weights that differ by more than 1e-5, as a share of all. AdamW moves a weight by at most about
    its learning rate, 2e-4, in a step;
  - loss differs by: relative difference of the loss in the last step.

The teacher is freshly initialised: its encodings have the same widths as those of a trained one.

Example: .venv/bin/python benchmarks/rounding.py
         .venv/bin/python benchmarks/rounding.py --systems mmin nmer --steps 1 2 3 4 35 --repeats 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import feature_store
import gpu
import training

RELATIVE = 1e-7
"""Change of the weights at the start."""
APART = 1e-5
"""Smallest difference of a weight that is counted."""


class Growth(NamedTuple):
    """One repeat of a system. loss: of the first step. apart: share of weights after every step, 0 to 1. loss_differs:
    relative difference of the loss in the last step."""

    loss: float
    apart: list[float]
    loss_differs: float


def main() -> None:
    """Train pairs, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--corpora", nargs="+", choices=training.CORPORA, default=["iemocap"])
    parser.add_argument("--systems", nargs="+", choices=gpu.SYSTEMS, default=list(gpu.SYSTEMS))
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 3, 4], help="after which to compare the weights")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of each system, with other initial weights")
    arguments = parser.parse_args()
    steps, repeats = sorted(set(arguments.steps)), range(1, arguments.repeats + 1)
    if steps[0] < 1 or not repeats:
        parser.error("--steps and --repeats must be at least 1")
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    import torch

    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    gpu.head(("corpus", "system", "loss", *(f"apart after {step}" for step in steps), "loss differs by"))
    for corpus in arguments.corpora:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
            files = training.make_files(Path(folder), corpus, training.BATCH * steps[-1], 1)
            for system in arguments.systems:
                grown = [growth(corpus, system, repeat, files, steps[-1]) for repeat in repeats]
                apart = [spread([pair.apart[step - 1] for pair in grown]) for step in steps]
                loss = statistics.mean(pair.loss for pair in grown)
                differs = statistics.mean(pair.loss_differs for pair in grown)
                gpu.row(corpus, system, f"{loss:.1e}", *apart, f"{differs:.0e}")


def growth(corpus: str, system: str, repeat: int, files: tuple[Path, Path], steps: int) -> Growth:
    """Train a system and its changed copy for some steps, each on different utterances."""
    import torch

    from nmer.plan.settings import PRETRAINING, RunSettings, TrainingSettings
    from nmer.systems.building import build_system
    from nmer.training.data import FoldData
    from nmer.training.one_by_one import OneByOne

    shape = training.CORPORA[corpus]
    regime = "clean" if system in gpu.PRETRAININGS else "all_noisy" if system in gpu.UNIMODAL else "incomplete"
    options = PRETRAINING if system in ("shared", "two_tower") else TrainingSettings()
    settings = RunSettings(corpus, system, regime, 1, repeat, evaluation=shape.evaluation, training=options)
    data = FoldData(*files, 1, torch.device("cpu"))

    def built(name: str):
        return build_system(name, shape.dims, shape.classes, options.dropout)

    torch.manual_seed(repeat)
    teacher = built(gpu.TEACHERS[system]).requires_grad_(False) if system in gpu.TEACHERS else None
    learner, changed = (OneByOne(lambda: built(system), data, settings, repeat, teacher) for _ in range(2))
    state = changed.state_dict()
    changed.load_state_dict(state | {"system": changed_weights(state["system"], repeat)})
    everyone = data.training_rows
    losses: list[float] = []
    changed_losses: list[float] = []
    apart: list[float] = []
    for step in range(steps):
        # An epoch of one step.
        data.training_rows = everyone[step * training.BATCH : (step + 1) * training.BATCH]
        losses.append(learner.train_epoch(step, options.learning_rate).values.sum())
        changed_losses.append(changed.train_epoch(step, options.learning_rate).values.sum())
        apart.append(share_apart(learner.weights(repeat), changed.weights(repeat)))
    return Growth(losses[0], apart, abs(changed_losses[-1] / losses[-1] - 1))


def changed_weights(weights: dict, seed: int) -> dict:
    """Multiply every weight by 1 + RELATIVE or 1 - RELATIVE in double precision, and cast back."""
    import torch

    random = torch.Generator().manual_seed(seed)
    return {
        name: (value * (1 + RELATIVE * (2.0 * torch.randint(2, value.shape, generator=random).double() - 1))).to(value)
        for name, value in weights.items()
    }


def share_apart(weights: dict, changed: dict) -> float:
    """Return the share of weights that differ by more than APART."""
    counts = [(int(((changed[name] - value).abs() > APART).sum()), value.numel()) for name, value in weights.items()]
    different, of = (sum(each) for each in zip(*counts, strict=True))
    return different / of


def spread(shares: list[float]) -> str:
    """Return mean and range, in per cent."""
    low, middle, high = (f"{100 * share:.2f}" for share in (min(shares), statistics.mean(shares), max(shares)))
    return f"{middle} %" if low == high else f"{middle} % ({low} to {high})"


if __name__ == "__main__":
    main()
