"""The systems of the uni-modality benchmark compute SPEC 4.7: one encoder, one classifier, one modality."""

from __future__ import annotations

import pytest
import torch
from small_systems import CLASSES, DIMS, batch_of, cross_entropy, layer_sizes, padded, random_utterances, small_system
from torch import nn

from nmer.names import UNIMODAL_SYSTEMS
from nmer.systems.blocks.encoders import LstmEncoder, TextCnn
from nmer.systems.building import build_system
from nmer.systems.registry import pretraining, systems

ENCODERS = {"unimodal_a": ("a", LstmEncoder), "unimodal_v": ("v", LstmEncoder), "unimodal_l": ("l", TextCnn)}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_uni_modal_system_is_trained_on_clean_and_on_all_noisy_data_without_pretraining(name):
    declared = systems.declaration(name)
    assert declared.attributes == {"pretraining": "none", "regimes": ("clean", "all_noisy"), "modalities": (name[-1],)}
    assert declared.options == {}
    assert pretraining(declared) is None


@pytest.mark.parametrize(("name", "modality", "kind"), [(name, *encoder) for name, encoder in ENCODERS.items()])
def test_a_uni_modal_system_reads_its_modality_with_the_encoder_of_that_modality(name, modality, kind):
    system = small_system(name).eval()
    assert system.modalities == (modality,) == (UNIMODAL_SYSTEMS[name],)
    assert type(system.encoder) is kind
    sequences = padded(random_utterances()[modality])
    encoding = system.encode(modality, sequences)
    assert torch.equal(encoding, system.encoder(sequences))
    assert encoding.shape == (6, 128)
    assert torch.equal(system.fuse({modality: encoding})["logits"], system.classifier(encoding))
    assert layer_sizes(system.classifier) == [(128, 128), (128, 128), (128, CLASSES)]


@pytest.mark.parametrize(("name", "modality"), [(name, modality) for name, (modality, _kind) in ENCODERS.items()])
def test_a_uni_modal_system_ignores_other_modalities(name, modality):
    system = small_system(name).eval()
    whole = batch_of(random_utterances())
    others = batch_of(random_utterances(seed=5) | {modality: random_utterances()[modality]})
    expected = system(whole)
    assert set(expected) == {"logits"}
    assert torch.equal(system(others)["logits"], expected["logits"])


@pytest.mark.parametrize("name", ENCODERS)
def test_the_loss_of_a_uni_modal_system_is_cross_entropy(name):
    system = small_system(name).eval()
    batch = batch_of(random_utterances(), teacher_width=0)
    outputs = system(batch)
    found = system.loss(outputs, batch)
    assert set(found) == {"classification"}
    torch.testing.assert_close(found["classification"], cross_entropy(outputs["logits"], batch.labels))


@pytest.mark.parametrize("name", ENCODERS)
def test_the_classifiers_dropout_is_the_global_rate(name):
    system = build_system(name, DIMS, CLASSES, 0.3)
    assert [part.p for part in system.classifier if isinstance(part, nn.Dropout)] == [0.3, 0.3]
