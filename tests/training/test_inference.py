"""Combining shared encodings gives the prediction of a direct forward pass under every condition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_fold import DIMS, builder, fold_data, make_files, normalised
from torch import nn

from nmer.systems.interface import Sequences
from nmer.training import inference
from nmer.training.inference import classify, encode, encode_states

CONDITIONS = ("a", "v", "l", "av", "al", "vl", "none", "avl")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fold_data(make_files(tmp_path_factory.mktemp("inference")))


@pytest.fixture(scope="module", params=["men", "nmer"])
def system(request):
    torch.manual_seed(1)
    return builder(request.param)()


def alone(system, modality: str, row: int, noisy: bool) -> torch.Tensor:
    """Encode one utterance individually, without padding."""
    frames = torch.from_numpy(normalised(modality, row, noisy).astype(np.float32))[None]
    with torch.no_grad():
        return system.eval().encode(modality, Sequences(frames, torch.tensor([frames.shape[1]])))[0]


def encode_all(system, data, rows: torch.Tensor, state: int) -> dict[str, torch.Tensor]:
    """Encode every modality in one state, clean or noisy."""
    return {m: encode(system.eval(), data, m, rows, torch.full_like(rows, state)) for m in DIMS}


def chosen(condition: str, states: list[dict], items: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the encodings of a condition. states: clean and noisy encodings."""
    clean_modalities = "" if condition == "none" else condition
    return {m: states[m not in clean_modalities][m][items] for m in DIMS}


@pytest.mark.parametrize("batch", [4, 256])
def test_encodings_equal_those_of_each_utterance_individually(system, data, monkeypatch, batch):
    monkeypatch.setattr(inference, "BATCH", batch)
    rows = torch.tensor([20, 3, 0, 7, 15, 3, 9, 10, 11])
    for noisy in (False, True):
        found = encode_all(system, data, rows, int(noisy))
        for modality, encodings in found.items():
            expected = torch.stack([alone(system, modality, int(row), noisy) for row in rows])
            torch.testing.assert_close(encodings, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("states", [1, 2])
@pytest.mark.parametrize("batch", [4, 256])
def test_states_encoded_jointly_equal_those_encoded_separately(system, data, monkeypatch, batch, states):
    monkeypatch.setattr(inference, "BATCH", batch)
    rows = torch.tensor([20, 3, 0, 7, 15])
    for modality in DIMS:
        separate, joint = (encode_states(system.eval(), data, modality, rows, states, way) for way in (False, True))
        assert len(separate) == len(joint) == states
        for one, other in zip(separate, joint, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    if states == 2:
        assert (joint[0] - joint[1]).abs().max() > 0.01


@pytest.mark.parametrize("batch", [2, 256])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_uses_clean_encodings_of_the_modalities_in_its_name(system, data, monkeypatch, condition, batch):
    monkeypatch.setattr(inference, "BATCH", batch)
    rows, items = torch.tensor([20, 3, 0, 7, 15]), torch.tensor([4, 0, 3])
    states = [encode_all(system, data, rows, state) for state in (0, 1)]
    found = classify(system, chosen(condition, states, items), {})
    clean_modalities = "" if condition == "none" else condition
    for row, probability in zip(rows[items], found, strict=True):
        encodings = {m: alone(system, m, int(row), m not in clean_modalities)[None] for m in DIMS}
        with torch.no_grad():
            expected = nn.functional.softmax(system.eval().fuse(encodings)["logits"][0], dim=0)
        torch.testing.assert_close(probability, expected, rtol=0, atol=1e-4)


def test_conditions_differ(system, data):
    rows = torch.arange(6)
    states = [encode_all(system, data, rows, state) for state in (0, 1)]
    found = [classify(system, chosen(condition, states, rows), {}) for condition in CONDITIONS]
    for number, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-4 for other in found[:number])


def test_a_condition_without_items_has_no_predictions(system, data):
    rows = torch.arange(6)
    encodings = {m: values[:0] for m, values in encode_all(system, data, rows, 0).items()}
    assert classify(system, encodings, {}).shape == (0, 3)


def test_empty_predictions_are_on_the_device_of_the_system():
    # The device ``meta`` simulates a GPU: concatenating results of several conditions requires one device.
    system = builder("men")().to("meta")
    assert classify(system, {m: torch.empty(0, 128, device="meta") for m in DIMS}, {}).device.type == "meta"
