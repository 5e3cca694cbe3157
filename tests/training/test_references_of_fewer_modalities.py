"""Reference rows on corpora with one and two modalities (SPEC 13)."""

from __future__ import annotations

import pytest

from nmer.names import conditions
from nmer.plan.settings import EvaluationSettings
from nmer.references.registry import references
from nmer.training.references import predict_reference
from nmer.training.system_checks import _random_fold

DIMS = {"a": 3, "v": 2, "l": 4}


@pytest.mark.parametrize(("modalities", "regime"), [("al", "incomplete"), ("al", "all_noisy"), ("l", "all_noisy")])
@pytest.mark.parametrize("name", ["majority", "logistic_regression"])
def test_a_reference_row_is_tested_under_the_conditions_of_the_corpus(tmp_path, name, modalities, regime):
    _random_fold({m: DIMS[m] for m in modalities}, 3, tmp_path, "classes")
    settings = EvaluationSettings("d", name, regime, [1], 1, noise="gaussian", snr_db=-10)
    features, noisy = tmp_path / "features.h5", tmp_path / "noisy.h5"
    predictions = predict_reference(references.load(name), features, noisy, settings)
    assert tuple(dict.fromkeys(predictions["condition"])) == conditions(modalities)
    assert predictions.filter(like="prob_").sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
