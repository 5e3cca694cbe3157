"""A logistic regression on equally noisy features: the simple opponent every system should be compared with.

Reads the feature store and the noisy embeddings that the workflow made, so that it sees exactly the noise the systems
see. An utterance becomes the mean over frames of its three modalities, concatenated; every training utterance stands
under all six incomplete conditions; features are standardised; the regularisation is chosen by validation UA; the test
split is scored under the six conditions, averaged with equal weight (SPEC 6.2). With --all-noisy it is
trained and scored with every modality noisy instead. Not a part of the workflow.

Example: .venv/bin/python benchmarks/logistic_regression.py --dataset mosi --noise gaussian --snr-db -10 -20 -30 -40
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from nmer.corpora.store import FeatureStore  # noqa: E402
from nmer.names import ALL_NOISY, MODALITIES, SIX_CONDITIONS, corruption_name, noisy_modalities  # noqa: E402
from nmer.training.data import noisy_values  # noqa: E402

REGULARISATION = (0.001, 0.01, 0.1, 1.0)


def main() -> None:
    """Train and score at every SNR, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=REPOSITORY / "results", help="results folder of the workflow")
    parser.add_argument("--dataset", default="mosi")
    parser.add_argument("--noise", default="gaussian")
    parser.add_argument("--snr-db", type=int, nargs="+", default=[-10, -20, -30, -40])
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--all-noisy", action="store_true", help="train and test with all modalities noisy (Table 5)")
    arguments = parser.parse_args()
    print("| SNR (dB) | C | WA | UA |\n|---|---|---|---|")
    with FeatureStore(arguments.results / "features" / f"{arguments.dataset}.h5") as store:
        clean = {m: mean_over_frames(store.values(m)[()], store.offset(m)) for m in MODALITIES}
        for snr_db in arguments.snr_db:
            path = arguments.results / "noisy" / arguments.dataset / f"{corruption_name(arguments.noise, snr_db)}.h5"
            noisy = {
                m: mean_over_frames(noisy_values(path, m, store.values(m).shape), store.offset(m)) for m in MODALITIES
            }
            conditions = (ALL_NOISY,) if arguments.all_noisy else SIX_CONDITIONS
            strength, wa, ua = score(clean, noisy, conditions, store.labels, store.fold(arguments.fold))
            print(f"| {snr_db} | {strength} | {wa:.4f} | {ua:.4f} |")


def mean_over_frames(values: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(utterances, dim) mean of each utterance's frames. values: (total frames, dim)."""
    return np.add.reduceat(values, offset[:-1], axis=0) / np.diff(offset)[:, None]


def score(
    clean: dict, noisy: dict, conditions: tuple[str, ...], labels: np.ndarray, fold: dict
) -> tuple[float, float, float]:
    """The chosen regularisation, and WA and UA on the test split averaged over the conditions it is trained on."""
    features = {
        c: np.hstack([(noisy if m in noisy_modalities(c) else clean)[m] for m in MODALITIES]) for c in conditions
    }
    train = np.vstack([values[fold["train"]] for values in features.values()])
    train_labels = np.tile(labels[fold["train"]], len(features))

    def averaged(model, split: str, metric) -> float:
        return float(np.mean([metric(labels[fold[split]], model.predict(f[fold[split]])) for f in features.values()]))

    models = {
        strength: make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(
            train, train_labels
        )
        for strength in REGULARISATION
    }
    best = max(models, key=lambda strength: averaged(models[strength], "val", balanced_accuracy_score))
    return best, *(averaged(models[best], "test", metric) for metric in (accuracy_score, balanced_accuracy_score))


if __name__ == "__main__":
    main()
