"""Score one trained system at one noise kind and level on the test splits of all its folds (SPEC 5.4, 6.1).

Tests the incomplete conditions, the all-noisy one and, for reference, the all-clean one. A system of the uni-modality
benchmark is tested with its modality noisy. Without a noise kind in the settings, only clean features are tested.
Writes tidy scores and the class probabilities of every utterance, from which the scores can be recomputed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nmer import command
from nmer.devices import compute_device
from nmer.digests import check_digests
from nmer.errors import ConfigError
from nmer.plan.settings import EvaluationSettings
from nmer.training.data import FoldData
from nmer.training.evaluation import predict
from nmer.training.evaluation_files import write_evaluation
from nmer.training.models import build_restored, restore


def main() -> None:
    """Predict with every fold's and repeat's model, write predictions and scores."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, system, regime, folds, repeats, noise, ...")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument(
        "--noisy", type=Path, nargs="?", help="noisy embeddings to test on; omit to test on clean features"
    )
    parser.add_argument("--models", required=True, type=Path, nargs="+", help="weights, one file per fold, in order")
    parser.add_argument("--scores", required=True, type=Path, help="scores CSV to write")
    parser.add_argument("--predictions", required=True, type=Path, help="predictions CSV (gzip) to write")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs granted to this job")
    arguments = parser.parse_args()
    settings = EvaluationSettings.from_mapping(command.settings(arguments.settings))
    if (settings.noise is None) != (arguments.noisy is None):
        raise ConfigError("--noisy: give noisy embeddings exactly where the settings name a noise kind.")
    if len(arguments.models) != len(settings.folds):
        raise ConfigError(f"--models: {len(arguments.models)} files for {len(settings.folds)} folds. Give one a fold.")
    check_digests(arguments.features, arguments.noisy, *arguments.models)
    parts = []
    with compute_device(arguments.gpus, arguments.threads) as device:
        system = None
        for fold, model in zip(settings.folds, arguments.models, strict=True):
            data = FoldData(arguments.features, arguments.noisy, fold, device, only="test")
            if system is None:
                shape = (data.dims, data.outputs, 0.0)
                system = build_restored(model, 1, settings.system, *shape, settings.options, settings.file).to(device)
            for repeat in range(1, settings.repeats + 1):
                restore(system, model, repeat)
                parts.append(predict(system, data, settings, fold, repeat))
    predictions = pd.concat(parts, ignore_index=True)
    write_evaluation(predictions, settings, arguments.scores, arguments.predictions)


if __name__ == "__main__":
    command.run(main)
