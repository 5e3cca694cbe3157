"""Logistic regression on equally noisy mean-pooled features: a simple baseline for every system (scikit-learn)."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nmer.metrics import CLASS_METRICS
from nmer.references.registry import Examples, Predictor, reference

REGULARISATION = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths to choose from; ties keep the strongest regularisation."""

ITERATIONS = 2000


@reference("logistic_regression")
def logistic_regression(train: Examples, validation: list[Examples], classes: int, /) -> Predictor:
    """Fit on standardised features, regularised for the best validation UA, averaged over the conditions."""
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=ITERATIONS)).fit(
            train.features, train.labels
        )
        for strength in REGULARISATION
    ]
    score = CLASS_METRICS["UA"].score
    ua = [
        np.mean([score(part.labels, model.predict(part.features), classes) for part in validation]) for model in models
    ]
    chosen = models[int(np.argmax(ua))]

    def probabilities(features: np.ndarray) -> np.ndarray:
        shares = np.zeros((len(features), classes))
        shares[:, chosen[-1].classes_] = chosen.predict_proba(features)
        return shares

    return probabilities
