"""Systems with noise flags, and evaluation of sequence encodings."""

from __future__ import annotations

import h5py
import pytest
import torch
from small_fold import (
    CLASSES,
    CPU,
    DIMS,
    FOLDS,
    builder,
    equal,
    make_files,
    make_teachers,
    normalised,
    run_settings,
    train_one,
)

from nmer.errors import ConfigError
from nmer.plan.settings import EvaluationSettings
from nmer.prediction.trained import load_trained
from nmer.systems.interface import Sequences
from nmer.training import inference
from nmer.training.data import FoldData
from nmer.training.evaluation import predict
from nmer.training.models import save_models


@pytest.fixture
def folds(tmp_path):
    """The small fold with its noise, and with much stronger noise."""
    features, noisy = make_files(tmp_path)
    stronger = tmp_path / "stronger.h5"
    stronger.write_bytes(noisy.read_bytes())
    with h5py.File(stronger, "r+") as file:
        for modality in DIMS:
            file[f"{modality}/values"][...] = 9 * file[f"{modality}/values"][...] + 1
    return [FoldData(features, path, 1, CPU) for path in (noisy, stronger)]


@pytest.mark.parametrize("flags", [True, False])
def test_momke_ignores_noisy_modalities_only_with_noise_flags(folds, flags):
    build = builder("momke", depth=1, noise_flags=flags)
    (teacher,) = make_teachers("experts", [1]).values()
    settings = run_settings("momke", "incomplete", epochs=2)
    trained = [train_one(build, data, settings, teacher=teacher)[0] for data in folds]
    assert equal(*trained) == flags
    predictions = []
    for data, weights in zip(folds, trained, strict=True):
        system = build()
        system.load_state_dict(weights)
        evaluation = EvaluationSettings("small", "momke", "incomplete", [1], 1, noise="gaussian", snr_db=-10)
        predictions.append(predict(system, data, evaluation, 1, 1))
    assert predictions[0].equals(predictions[1]) == flags


@pytest.mark.parametrize("at_once", [2, 256])
def test_sequence_encodings_give_the_predictions_of_single_utterances(folds, monkeypatch, at_once):
    monkeypatch.setattr(inference, "BATCH", at_once)
    system = builder("emt_dlfr", layers=1)().eval()
    evaluation = EvaluationSettings("small", "emt_dlfr", "incomplete", [1], 1, noise="gaussian", snr_db=-10)
    found = predict(system, folds[0], evaluation, 1, 1)
    assert set(found["condition"]) == {"a", "v", "l", "av", "al", "vl", "none", "avl"}
    for condition, part in found.groupby("condition"):
        clean = "" if condition == "none" else condition
        assert len(part) == len(FOLDS[1]["test"])
        for row, number in zip(part.itertuples(), FOLDS[1]["test"].tolist(), strict=True):
            encodings = {}
            for m in DIMS:
                frames = torch.from_numpy(normalised(m, number, m not in clean)).float()[None]
                encodings[m] = system.encode(m, Sequences(frames, torch.tensor([frames.shape[1]])))
            expected = system.fuse(encodings)["logits"][0].softmax(dim=0)
            assert [row.prob_low, row.prob_middle, row.prob_high] == pytest.approx(expected.tolist(), abs=1e-5)


def test_prediction_with_a_system_trained_with_flags_is_refused(tmp_path):
    system, path = builder("momke", depth=1, noise_flags=True)(), tmp_path / "model.safetensors"
    description = {"system": "momke", "options": {"depth": 1, "noise_flags": True}, "dims": DIMS, "classes": CLASSES}
    save_models(path, {1: system.state_dict()}, description)
    with pytest.raises(ConfigError, match="'momke' was trained with noise_flags"):
        load_trained(path)
