"""Train a reference row and score it on the test splits of all its folds, at one noise kind and level.

A reference row (``majority``, ``logistic_regression``) is a simple classifier on the same noisy features, averaged over
frames, with the same splits and conditions as the systems. It is deterministic, so it is trained once per fold. Its
weights are not saved. Writes scores and predictions in the format of evaluate.py.
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.digests import check_digests
from nmer.plan.settings import EvaluationSettings
from nmer.references.registry import references
from nmer.training.evaluation_files import write_evaluation
from nmer.training.references import predict_reference


def main() -> None:
    """Train, predict, score, write."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, system, regime, folds, noise, ...")
    parser.add_argument("--features", required=True, type=Path, help="feature store of the dataset")
    parser.add_argument("--noisy", required=True, type=Path, help="noisy embeddings to train and test on")
    parser.add_argument("--scores", required=True, type=Path, help="scores CSV to write")
    parser.add_argument("--predictions", required=True, type=Path, help="predictions CSV (gzip) to write")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    settings = EvaluationSettings.from_mapping(command.settings(arguments.settings))
    train = references.load(settings.system)
    check_digests(arguments.features, arguments.noisy)
    predictions = predict_reference(train, arguments.features, arguments.noisy, settings, arguments.threads)
    write_evaluation(predictions, settings, arguments.scores, arguments.predictions)


if __name__ == "__main__":
    command.run(main)
