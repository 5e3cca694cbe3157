"""Train all repeats of one system, or of one stage-A pretraining, on one fold of a dataset (SPEC 3, 4).

Repeats are trained jointly on a GPU and one after another on a CPU; ``training.repeats_together`` overrides this. They
share the data and differ in their seeds. The validation split selects the epoch of each repeat. The history has a row
per repeat and epoch. Progress is checkpointed in a folder keyed by settings, code and inputs, and resumed from it; the
folder is removed when the job succeeds, as are those of its earlier attempts with other settings.
"""

from __future__ import annotations

import hashlib
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nmer import command
from nmer.devices import compute_device
from nmer.digests import check_digests, digest_path
from nmer.errors import ConfigError, DataError
from nmer.files import write_rows
from nmer.names import FRESH, SCORE
from nmer.plan.conditions import cached_draws
from nmer.plan.running import announce, forget
from nmer.plan.settings import RunSettings
from nmer.systems.registry import check_teacher, pretraining, systems
from nmer.training.data import FoldData
from nmer.training.job import train_repeats
from nmer.training.models import load_settings, save_models

if TYPE_CHECKING:
    from nmer.noisy_embeddings.fresh_noise import FreshNoise


def main() -> None:
    """Train the repeats and write their weights and histories."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, system, regime, fold, repeats, ...")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument(
        "--noisy", type=Path, nargs="*", default=[], help="noisy embeddings (regimes incomplete and all_noisy)"
    )
    parser.add_argument("--teacher", type=Path, nargs="?", help="pretrained model, for systems that start from one")
    parser.add_argument("--model", required=True, type=Path, help="weights to write (.safetensors)")
    parser.add_argument("--history", required=True, type=Path, help="history CSV to write")
    parser.add_argument("--checkpoints", required=True, type=Path, help="folder for resumable progress")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs granted to this job")
    arguments = parser.parse_args()
    settings = RunSettings.from_mapping(command.settings(arguments.settings))
    progress = arguments.checkpoints / checkpoint_key(arguments)
    check_digests(arguments.features, *arguments.noisy, arguments.teacher)
    declaration = systems.declaration(settings.system, settings.file)
    stage = pretraining(declaration, settings.options)
    wanted = 0 if settings.regime == "clean" else settings.levels
    if wanted and not arguments.noisy:
        raise ConfigError(f"--noisy: regime '{settings.regime}' trains on noisy embeddings. Give their file.")
    if wanted > 1 and len(arguments.noisy) != wanted:
        raise ConfigError(f"--noisy: {len(arguments.noisy)} files for {wanted} levels. Give one a level, in order.")
    if stage and not arguments.teacher:
        raise ConfigError(f"--teacher: system '{settings.system}' starts from '{stage}'. Give its model file.")
    if stage:
        taught_by = systems.declaration(stage, settings.teacher.get("file"))
        # The settings define how the teacher is built, the file how it was trained. Both must agree with the system.
        for described in (settings.teacher, load_settings(arguments.teacher)):
            check_teacher(declaration, settings.options, taught_by, described.get("options", {}))
    with compute_device(arguments.gpus, arguments.threads) as device:
        draws, spare = cached_draws(settings.train_draws), int(settings.train_draws == FRESH)
        data = FoldData(arguments.features, arguments.noisy, settings.fold, device, settings.scope, draws, spare)
        noise = fresh_noise(settings, arguments)
        announce(progress, arguments.history, settings.training.epochs, settings.repeats)
        trained = train_repeats(settings, data, stage, arguments.teacher, progress, noise)
    write_rows(arguments.history, [row for _weights, history in trained.values() for row in history])
    states = {repeat: weights for repeat, (weights, _history) in trained.items()}
    description = command.settings(arguments.settings) | {"dims": data.dims, "classes": data.classes}
    description |= {"target": data.target} if data.target == SCORE else {}
    save_models(arguments.model, states, description, data.normalisation)
    forget(arguments.checkpoints, arguments.history)


def fresh_noise(settings: RunSettings, arguments: Namespace) -> FreshNoise | None:
    """Return the source of fresh training noise, or None. Imported by name, so only the trainings that use it depend
    on its code."""
    if settings.train_draws != FRESH:
        return None
    noise: FreshNoise = import_module("nmer.noisy_embeddings.fresh_noise").FreshNoise(
        arguments.features, arguments.noisy[0]
    )
    return noise


def checkpoint_key(arguments: Namespace) -> str:
    """Return a digest of all settings, code and inputs, so that no other training's checkpoint is resumed."""
    inputs = [path for path in (arguments.features, *arguments.noisy, arguments.teacher) if path]
    try:
        digests = [digest_path(path).read_text() for path in inputs]
    except OSError as error:
        raise DataError(f"{error.filename}: no such file. Delete the input it belongs to and run again.") from None
    parts = [arguments.settings, arguments.code, *digests]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


if __name__ == "__main__":
    command.run(main)
