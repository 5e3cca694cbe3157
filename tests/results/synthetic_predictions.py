"""Write random predictions of a run with their scikit-learn scores, in the format of the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

CONDITIONS = ("a", "v", "l", "av", "al", "vl", "none")


def make_predictions(
    folds: int = 2,
    repeats: int = 2,
    utterances: int = 40,
    classes: int = 3,
    skill: float = 0.6,
    seed: int = 0,
    conditions: tuple[str, ...] = CONDITIONS,
    one_condition: bool = False,
) -> pd.DataFrame:
    """Return predictions that are correct with probability ``skill``. Utterances and labels depend only on the fold.

    one_condition: test each utterance under only one condition (SPEC 5.4)."""
    random, rows = np.random.default_rng(seed), []
    for fold in range(1, folds + 1):
        truth = np.random.default_rng([99, fold])
        # Every class occurs under every condition, even if each utterance is tested under only one.
        labels = np.tile(np.arange(classes), len(conditions))[:utterances]
        labels = np.concatenate([labels, truth.integers(classes, size=utterances - len(labels))])
        for repeat in range(1, repeats + 1):
            for position, condition in enumerate(conditions):
                for index, label in enumerate(labels):
                    if one_condition and index // classes % len(conditions) != position:
                        continue
                    probability = random.dirichlet(np.ones(classes))
                    guess = label if random.random() < skill else random.integers(classes)
                    probability[[guess, probability.argmax()]] = probability[[probability.argmax(), guess]]
                    rows.append((f"fold{fold}_utterance{index}", condition, fold, repeat, label, *probability))
    names = [f"prob_class{number}" for number in range(classes)]
    return pd.DataFrame(rows, columns=["utterance", "condition", "fold", "repeat", "label", *names])


def sklearn_scores(labels: np.ndarray, guesses: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """Return scikit-learn's scores by metric, over the classes that occur among the labels."""
    given = {"y_true": labels, "y_pred": guesses, "sample_weight": weights}
    _, recall, f1, support = precision_recall_fscore_support(**given, labels=np.unique(labels), zero_division=0)
    accuracy = accuracy_score(**given)
    return {"WA": accuracy, "UA": recall.mean(), "F1": f1.mean(), "WF1": np.average(f1, weights=support)}


def score_with_sklearn(predictions: pd.DataFrame, key: dict) -> pd.DataFrame:
    """Return the tidy scores of predictions, computed with scikit-learn."""
    names = [name for name in predictions if name.startswith("prob_")]
    rows = []
    for (condition, fold, repeat), part in predictions.groupby(["condition", "fold", "repeat"], sort=False):
        values = sklearn_scores(part["label"].to_numpy(), part[names].to_numpy().argmax(axis=1))
        where = {"condition": condition, "fold": fold, "repeat": repeat}
        rows += [key | where | {"metric": metric, "value": value, "n": len(part)} for metric, value in values.items()]
    return pd.DataFrame(rows)


def write_run(
    folder: Path,
    predictions: pd.DataFrame,
    system: str,
    regime="incomplete",
    noise="gaussian",
    snr_db=-10,
    dataset="corpus",
) -> Path:
    """Write the predictions and scores of a run; return the file of scores."""
    path = folder / dataset / system / regime / (f"{noise}_{snr_db}dB.csv" if noise else "clean.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    key = {"dataset": dataset, "system": system, "regime": regime, "noise": noise, "snr_db": snr_db}
    predictions.to_csv(path.with_name(f"{path.stem}_predictions.csv.gz"), index=False)
    score_with_sklearn(predictions, key).to_csv(path, index=False)
    return path
