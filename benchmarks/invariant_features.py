"""Compare forms of the invariant features in NMER and IF-MMIN by validation scores (SPEC 12).

Uses two corpora: 2,000 synthetic utterances in IEMOCAP's layout, Gaussian noise at -10 dB, fold 1; and the real
CMU-MOSI at utterance level, Gaussian noise at -10 and -30 dB, NMER at the official code's feed-forward width of 128.
Per corpus it trains the stage-A teachers, then NMER and IF-MMIN under the six conditions, three repeats each, with all
other settings at their defaults. The variants:
  raw            H as computed by the invariance MLP (the lineage; the default)
  raw_scaled     the same; the CMD divides by the interval of the batch, so shrinking all features gains nothing
  raw_light_cmd  the same; the CMD at weight 0.1
  raw_light_inv  the same; L_inv at weight 1 (NMER) or 10 (IF-MMIN) instead of 10 or 100
  sigmoid        H = sigmoid(MLP); its interval has length 1, so the CMD divided by it is the same CMD
  tanh           H = tanh(MLP)
  tanh_scaled    the same; the CMD divides its k-th moments by 2^k
Measures the best clean validation UA of the teacher and the best validation UA of the system, per repeat; the spread of
H, which is its standard deviation over the clean validation utterances, averaged over dimensions and repeats, per
modality, for the teacher and the trained system; test WA and UA, averaged over the six conditions.
Variants are chosen by validation scores. The CSV has every test score, the printed table only those of the default.

Runs the workflow's step scripts without Snakemake. Finished cells are not repeated; after an interruption run the same
command again. Writes OUT/invariant_features.csv with every finished cell, and prints a Markdown table of the requested
ones.

Example: python benchmarks/invariant_features.py --data ../shared/data --out results/invariant_features --jobs 2
         python benchmarks/invariant_features.py --out /tmp/study --only synthetic/nmer --gpus 1 --jobs 6
"""

from __future__ import annotations

import argparse
import copy
import csv
import fnmatch
import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from nmer.devices import SLOTS_VARIABLE  # noqa: E402
from nmer.errors import ConfigError, NmerError  # noqa: E402
from nmer.files import write_rows, write_text  # noqa: E402
from nmer.names import MODALITIES, SIX_CONDITIONS  # noqa: E402
from nmer.plan.plan import Plan  # noqa: E402

SYSTEMS = ("nmer", "if_mmin")
STAGES = {"nmer": "two_tower", "if_mmin": "shared"}
LEVELS = {"synthetic": (-10,), "mosi": (-10, -30)}
SYNTHETIC = {
    "layout": "iemocap_mmin",
    "generate": {
        "utterances": 2000,
        "dims": {"a": 40, "v": 48, "l": 96},
        "frames": {"a": 14, "v": 10, "l": 8},
        "strength": {"a": 1.4, "v": 1.1, "l": 1.95},
    },
}
"""Learnable and not saturated: with the generator's default strengths a teacher reaches a clean validation UA of .95,
with these about .9; SPEC 12 has .913."""
DEFAULT = "raw"


@dataclass(frozen=True)
class Variant:
    """Options of the stage-A pretraining, of both systems, and of each system."""

    pretraining: dict[str, Any]
    systems: dict[str, Any]
    nmer: dict[str, Any]
    if_mmin: dict[str, Any]

    def options(self, system: str) -> dict[str, Any]:
        """Return the options of a system."""
        own: dict[str, Any] = getattr(self, system)
        return self.systems | own


def variant(form: str = "raw", nmer: dict | None = None, if_mmin: dict | None = None, **pretraining: Any) -> Variant:
    """Return a variant with invariant features of a form. nmer, if_mmin, pretraining: additional options."""
    features = {"invariant_features": form}
    return Variant(features | pretraining, features, nmer or {}, if_mmin or {})


VARIANTS = {
    "raw": variant(),
    "raw_scaled": variant(discrepancy_scaling=True),
    "raw_light_cmd": variant(discrepancy_weight=0.1),
    "raw_light_inv": variant(nmer={"invariance_weight": 1.0}, if_mmin={"invariance_weight": 10.0}),
    "sigmoid": variant("sigmoid"),
    "tanh": variant("tanh"),
    "tanh_scaled": variant("tanh", discrepancy_scaling=True),
}


def main() -> None:
    """Run the missing steps, then measure and print the finished cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="folder with cmu_mosi/mosi_senti_data.pkl; without it, only the synthetic corpus"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--jobs", type=int, default=1, help="steps run in parallel")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs to share among the trainings; 0: the CPU")
    parser.add_argument(
        "--only", default="*", help="corpus/system/variant; trailing parts are optional and * matches any: mosi/*/tanh"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="start no step after this many minutes; then print"
    )
    parser.add_argument("--quick", action="store_true", help="two epochs, two repeats, few utterances, as a test")
    arguments = parser.parse_args()
    if arguments.jobs < 1 or arguments.gpus < 0:
        sys.exit("error: --jobs must be at least 1 and --gpus at least 0.")
    corpora = [corpus for corpus in LEVELS if corpus != "mosi" or arguments.data]
    try:
        study = Study(arguments.out.resolve(), arguments.data, corpora, bool(arguments.gpus), arguments.quick)
        cells = [cell for cell in study.cells(corpora) if matches(cell, arguments.only)]
        if not cells:
            raise ConfigError(
                f"--only: no cell is called '{arguments.only}'. Give corpus/system/variant, and --data for mosi."
            )
        finished = run(study.steps(cells), study.out, arguments.jobs, arguments.gpus, arguments.minutes)
        rows = {cell: study.rows(cell) for cell in study.cells(corpora) if study.is_done(cell)}
    except NmerError as error:
        sys.exit(f"error: {error}")
    if rows:
        write_rows(study.out / "invariant_features.csv", list(itertools.chain.from_iterable(rows.values())))
    if found := [rows[cell] for cell in cells if cell in rows]:
        print(table(found), flush=True)
    if not finished:
        sys.exit("error: not every cell is finished. Remove the cause and run the same command again.")


@dataclass(frozen=True)
class Cell:
    """A system on a corpus at a noise level, in one variant."""

    corpus: str
    snr_db: int
    system: str
    variant: str


def matches(cell: Cell, pattern: str) -> bool:
    """Return whether ``--only`` names a cell."""
    parts = [*pattern.split("/"), "*", "*"][:3]
    names = (cell.corpus, cell.system, cell.variant)
    return all(fnmatch.fnmatchcase(name, part or "*") for name, part in zip(names, parts, strict=True))


@dataclass(frozen=True)
class Step:
    """A call of a step script. outputs: the files that it writes. after: the steps whose outputs it reads."""

    script: str
    settings: str
    code: str
    arguments: tuple[str, ...]
    outputs: tuple[Path, ...]
    after: tuple[Step, ...] = ()

    @property
    def stamp(self) -> Path:
        """Return the path of the record of what made the first output."""
        return self.outputs[0].with_name(f"{self.outputs[0].name}.made")

    @property
    def content(self) -> str:
        """Return the content of the stamp: everything that the outputs depend on."""
        sources = [hashlib.sha256(step.content.encode()).hexdigest() for step in self.after]
        return "\n".join([self.script, self.code, self.settings, *sources])

    def is_done(self) -> bool:
        """Return whether its outputs exist and were made with equal settings and code."""
        made = self.stamp.read_text() if self.stamp.is_file() else ""
        return made == self.content and all(path.exists() for path in self.outputs)


class Study:
    """The cells of the study, their steps and their measurements."""

    def __init__(self, out: Path, data: Path | None, corpora: list[str], gpu: bool, quick: bool) -> None:
        """out: folder of all files. data: folder of CMU-MOSI. Raises NmerError if the corpora cannot be read."""
        self.out = out
        self.gpu = gpu
        self.quick = quick
        shipped = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
        synthetic = copy.deepcopy(SYNTHETIC)
        if quick:
            synthetic["generate"]["utterances"] = 200
        one = {"constant_epochs": 1, "decay_epochs": 1}
        training = one | {"pretraining": one} if quick else {}
        self.config = {
            "experiment": "",
            "data": str((data or Path("data")).resolve()),
            "experiments": {
                f"{corpus}_{name}": {
                    "datasets": [corpus],
                    "systems": list(SYSTEMS),
                    "noise": ["gaussian"],
                    "snr_db": list(LEVELS[corpus]),
                    "repeats": 2 if quick else 3,
                    "folds": 1,
                    "training": training,
                    "system_options": self._options(corpus, VARIANTS[name]),
                }
                for corpus, name in itertools.product(corpora, VARIANTS)
            },
            "datasets": {"synthetic": synthetic, "mosi": shipped["datasets"]["mosi"]},
        }
        self.plans = {
            (corpus, name): Plan(self.config | {"experiment": f"{corpus}_{name}"})
            for corpus, name in itertools.product(corpora, VARIANTS)
        }

    def _options(self, corpus: str, chosen: Variant) -> dict[str, dict[str, Any]]:
        options = dict.fromkeys(STAGES.values(), chosen.pretraining)
        options |= {system: chosen.options(system) for system in SYSTEMS}
        if corpus == "mosi":
            options["nmer"] = options["nmer"] | {"feed_forward": 128}
        if self.quick:
            options["nmer"] = options["nmer"] | {"feed_forward": 16, "layers": 1}
        return options

    def cells(self, corpora: Iterable[str]) -> Iterator[Cell]:
        """Yield every cell, with the default as the first variant."""
        for corpus in corpora:
            for snr_db, system, name in itertools.product(LEVELS[corpus], SYSTEMS, VARIANTS):
                yield Cell(corpus, snr_db, system, name)

    def steps(self, cells: list[Cell]) -> list[Step]:
        """Return the steps of some cells, each once, in the order of their dependencies."""
        makers = (self._corpus, self._features, self._noisy, self._teacher, self._training, self._evaluation)
        ordered = dict.fromkeys(step for make in makers for cell in cells for step in sources(make(cell)))
        return list(ordered)

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell is complete."""
        return all(step.is_done() for step in self.steps([cell]))

    # Steps

    def _corpus(self, cell: Cell) -> Step | None:
        """Return the generation of the synthetic corpus; None for a real one."""
        if "generate" not in self.config["datasets"][cell.corpus]:
            return None
        corpus = self.out / "corpora" / cell.corpus
        return self._step("generate_corpus.py", cell, "corpus_settings", _arguments(output=corpus), (corpus,))

    def _features(self, cell: Cell) -> Step:
        corpus, w = self._corpus(cell), self._wildcards(cell)
        plan = self.plans[cell.corpus, cell.variant]
        source = corpus.outputs[0] if corpus else plan.source(w)
        features = self.out / "features" / f"{cell.corpus}.h5"
        given = _arguments(source=source, output=features, report=features.with_suffix(".json"))
        after = (corpus,) if corpus else ()
        step = self._step("build_features.py", cell, "features_settings", given, (features,), after)
        return replace(step, code=f"{step.code} {plan.source_digest(w)}")

    def _noisy(self, cell: Cell) -> Step:
        features = self._features(cell)
        noisy = self.out / "noisy" / cell.corpus / f"gaussian_{cell.snr_db}dB.h5"
        levels = noisy.with_name(f"{noisy.stem}_calibration.csv")
        given = _arguments(features=features.outputs[0])
        calibration = self._step(
            "calibrate.py", cell, "calibration_settings", (*given, *_arguments(output=levels)), (levels,), (features,)
        )
        given += _arguments(calibration=levels, output=noisy, measured=noisy.with_suffix(".csv"))
        return self._step("corrupt.py", cell, "corruption_settings", given, (noisy,), (features, calibration))

    def _teacher(self, cell: Cell) -> Step:
        """Return the stage-A pretraining of a cell. Variants that differ only in the systems share it."""
        stage, own = STAGES[cell.system], VARIANTS[cell.variant].pretraining
        cell = replace(cell, variant=next(name for name, other in VARIANTS.items() if other.pretraining == own))
        w = SimpleNamespace(dataset=cell.corpus, stage=stage, fold="1")
        return self._train(cell, w, self.out / "teachers" / cell.corpus / stage / cell.variant)

    def _training(self, cell: Cell) -> Step:
        noisy, teacher = self._noisy(cell), self._teacher(cell)
        given = _arguments(noisy=noisy.outputs[0], teacher=teacher.outputs[0])
        folder = self.out / "runs" / cell.corpus / str(cell.snr_db) / cell.system / cell.variant
        return self._train(cell, self._wildcards(cell), folder, given, (noisy, teacher))

    def _train(
        self,
        cell: Cell,
        w: SimpleNamespace,
        folder: Path,
        given: tuple[str, ...] = (),
        after: tuple[Step, ...] = (),
    ) -> Step:
        features, code = self._features(cell), self.plans[cell.corpus, cell.variant].code("train.py", w)
        outputs = (folder / "model.safetensors", folder / "history.csv")
        given = _arguments(features=features.outputs[0], model=outputs[0], history=outputs[1]) + given
        given += _arguments(code=code, checkpoints=self.out / "checkpoints", gpus=int(self.gpu))
        return self._step("train.py", cell, "training_settings", given, outputs, (features, *after), w)

    def _evaluation(self, cell: Cell) -> Step:
        features, noisy, training = self._features(cell), self._noisy(cell), self._training(cell)
        scores = training.outputs[0].with_name("scores.csv")
        given = _arguments(
            features=features.outputs[0], noisy=noisy.outputs[0], models=training.outputs[0], scores=scores
        )
        given += _arguments(predictions=scores.with_name("predictions.csv.gz"), gpus=int(self.gpu))
        return self._step("evaluate.py", cell, "evaluation_settings", given, (scores,), (features, noisy, training))

    def _step(
        self,
        script: str,
        cell: Cell,
        settings: str,
        given: tuple[str, ...],
        outputs: tuple[Path, ...],
        after: tuple[Step, ...] = (),
        w: SimpleNamespace | None = None,
    ) -> Step:
        """Return a step with the settings and the code of the workflow's plan. settings: method of the plan."""
        plan, w = self.plans[cell.corpus, cell.variant], w or self._wildcards(cell)
        return Step(script, getattr(plan, settings)(w), plan.code(script, w), given, outputs, after)

    def _wildcards(self, cell: Cell) -> SimpleNamespace:
        corruption = f"gaussian_{cell.snr_db}dB"
        return SimpleNamespace(
            dataset=cell.corpus, system=cell.system, regime="incomplete", corruption=corruption, fold="1"
        )

    # Measurements

    def rows(self, cell: Cell) -> list[dict[str, Any]]:
        """Return a row per repeat of a finished cell."""
        teacher, training = self._teacher(cell), self._training(cell)
        best = {name: best_scores(step.outputs[1]) for name, step in (("teacher", teacher), ("system", training))}
        spreads = {"teacher": self._spread(cell, teacher), "system": self._spread(cell, training)}
        test = test_scores(self._evaluation(cell).outputs[0])
        return [
            {
                "corpus": cell.corpus,
                "noise": "gaussian",
                "snr_db": cell.snr_db,
                "system": cell.system,
                "variant": cell.variant,
                "repeat": repeat,
                "teacher_val_UA": best["teacher"][repeat],
                "val_UA": best["system"][repeat],
                **{f"{who}_spread_{m}": spreads[who][repeat][m] for who in spreads for m in MODALITIES},
                **{f"test_{metric}": test[repeat, metric] for metric in ("WA", "UA")},
            }
            for repeat in best["system"]
        ]

    def _spread(self, cell: Cell, step: Step) -> dict[int, dict[str, float]]:
        """Return the spread of H of a training step's model, per repeat and modality; cached next to the model."""
        kept = step.outputs[0].with_name("spread.json")
        if kept.is_file() and (known := json.loads(kept.read_text()))["of"] == step.content:
            return {int(repeat): spread for repeat, spread in known["spread"].items()}
        settings = json.loads(step.settings)
        found = spread_of_invariant_features(self._features(cell).outputs[0], settings, step.outputs[0])
        write_text(kept, json.dumps({"of": step.content, "spread": found}))
        return found


def sources(step: Step | None) -> Iterator[Step]:
    """Yield a step after all steps that it depends on."""
    if step:
        for source in step.after:
            yield from sources(source)
        yield step


def _arguments(**arguments: object) -> tuple[str, ...]:
    return tuple(text for name, value in arguments.items() for text in (f"--{name}", str(value)))


def run(steps: list[Step], out: Path, jobs: int, gpus: int, minutes: float) -> bool:
    """Run the unfinished steps, ``jobs`` at a time, each after those whose outputs it reads.

    minutes: time after which no new step starts. Returns whether all are done. After a failure, the steps that do not
    depend on it still run.
    """
    environment = os.environ | ({SLOTS_VARIABLE: str(max(jobs, gpus))} if gpus else {})
    waiting = [step for step in steps if not step.is_done()]
    running: dict[Future[bool], Step] = {}
    missing = set(waiting)
    total, began = len(waiting), time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            for step in [step for step in waiting if not missing.intersection(step.after)][: jobs - len(running)]:
                if time.monotonic() - began < 60 * minutes:
                    waiting.remove(step)
                    running[pool.submit(call, step, out, environment)] = step
            if not running:
                return not missing
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                if future.result():
                    missing.remove(step)
                outcome = f"{total - len(missing)} of {total} done" if future.result() else "FAILED"
                place = step.outputs[0].relative_to(out)
                print(f"{time.monotonic() - began:5.0f} s  {outcome}: {place}", file=sys.stderr, flush=True)


def call(step: Step, out: Path, environment: dict[str, str]) -> bool:
    """Run one step and return whether it succeeded. Save its messages next to its output; print them if it fails."""
    step.stamp.unlink(missing_ok=True)
    step.stamp.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(REPOSITORY / "scripts" / step.script), "--settings", step.settings, *step.arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=out)
    write_text(step.outputs[0].with_name(f"{step.outputs[0].name}.log"), finished.stdout + finished.stderr)
    if finished.returncode:
        print(finished.stderr.strip(), file=sys.stderr, flush=True)
        return False
    write_text(step.stamp, step.content)
    return True


def best_scores(history: Path) -> dict[int, float]:
    """Return the best validation UA of a training's history, per repeat."""
    best: dict[int, float] = {}
    with history.open(newline="") as stream:
        for row in csv.DictReader(stream):
            repeat = int(row["repeat"])
            best[repeat] = max(best.get(repeat, 0.0), float(row["val_UA"]))
    return best


def test_scores(scores: Path) -> dict[tuple[int, str], float]:
    """Return the mean over the six conditions of a scores file, per repeat and metric."""
    found: dict[tuple[int, str], list[float]] = {}
    with scores.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["condition"] in SIX_CONDITIONS:
                found.setdefault((int(row["repeat"]), row["metric"]), []).append(float(row["value"]))
    return {key: float(np.mean(values)) for key, values in found.items()}


def spread_of_invariant_features(features: Path, settings: dict, model: Path) -> dict[int, dict[str, float]]:
    """Return the standard deviation of H over the clean validation utterances, per repeat and modality, averaged over
    its dimensions. settings: those of the model's training."""
    import torch
    from safetensors import safe_open

    from nmer.systems.blocks.towers import TOWERS
    from nmer.training.data import FoldData

    data = FoldData(features, None, settings["fold"], torch.device("cpu"))
    form = settings.get("options", {}).get("invariant_features", "raw")
    towers = TOWERS["two_tower" if settings["system"] in ("two_tower", "nmer") else "stacked"](data.dims, form).eval()
    rows = data.splits["val"]
    found = {}
    with safe_open(model, framework="pt") as file, torch.inference_mode():
        for repeat in range(1, settings["repeats"] + 1):
            prefix = f"repeat{repeat}.towers."
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            towers.load_state_dict({name.removeprefix(prefix): file.get_tensor(name) for name in names})
            invariant = {
                m: towers(m, data.sequences(m, rows, torch.zeros_like(rows))).chunk(2, 1)[1] for m in MODALITIES
            }
            found[repeat] = {m: float(values.std(dim=0).mean()) for m, values in invariant.items()}
    return found


COLUMNS = (
    "corpus",
    "SNR",
    "system",
    "variant",
    "teacher, clean val UA",
    "val UA per repeat",
    "val UA",
    "spread of H, teacher (a, v, l)",
    "spread of H, system (a, v, l)",
    "test WA / UA",
)


def table(cells: list[list[dict[str, Any]]]) -> str:
    """Return a Markdown table of mean and standard deviation over repeats; test scores only of the default.

    cells: the rows of each.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for rows in cells:
        values = {column: [row[column] for row in rows] for column in rows[0]}
        cell = rows[0]
        spreads = [
            ", ".join(f"{np.mean(values[f'{who}_spread_{m}']):.4f}" for m in MODALITIES)
            for who in ("teacher", "system")
        ]
        test = " / ".join(_mean(values[f"test_{metric}"]) for metric in ("WA", "UA"))
        texts = [
            cell["corpus"],
            f"{cell['snr_db']} dB",
            cell["system"],
            cell["variant"],
            _mean(values["teacher_val_UA"]),
        ]
        texts += [" ".join(f"{value:.3f}" for value in values["val_UA"]), _mean(values["val_UA"]), *spreads]
        texts += [test if cell["variant"] == DEFAULT else ""]
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
