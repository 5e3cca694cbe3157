"""MCTN computes SPEC 4.6: translation and cycle without reading the target, one encoding per modality at test."""

from __future__ import annotations

import pytest
import torch
from small_systems import CLASSES, DEVIATIONS, DIMS, batch_of, disturbed, logits, padded, random_utterances
from torch import Tensor, nn

from nmer.errors import ConfigError
from nmer.options import Bounds
from nmer.systems.blocks import translation
from nmer.systems.blocks.decoders import AttentionDecoder, OutputLayer
from nmer.systems.blocks.translation import (
    CyclicTranslator,
    SequenceEncoder,
    Summary,
    pooled,
    translate,
)
from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences, System
from nmer.systems.registry import systems

FORMS = ("ring", "hier")
HIDDEN, STEPS = 128, 20
"""STEPS: default number of steps of a decoded sequence."""


def mctn(form: str = "ring", **options) -> System:
    return build_system("mctn", DIMS, CLASSES, 0.0, {"form": form} | options)


# Sizes


def lstm_size(inputs: int, hidden: int = 128) -> int:
    return 4 * hidden * (inputs + hidden) + 8 * hidden


def linear_size(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


ENCODER = 2 * lstm_size(128)
DECODER = linear_size(128, 128) + linear_size(256, 128) + 128 + lstm_size(256)
SUMMARY = lstm_size(128) + linear_size(128, 1)


def translator_size(source: int, target: int) -> int:
    projections = linear_size(source, 128) + linear_size(target, 128)
    heads = linear_size(256, source) + linear_size(256, target)
    feedbacks = linear_size(source, 128) + linear_size(target, 128)
    return projections + ENCODER + DECODER + heads + feedbacks


def classifier_size(inputs: int, classes: int) -> int:
    return linear_size(inputs, 128) + linear_size(128, 128) + linear_size(128, classes)


@pytest.mark.parametrize(("a", "v", "l", "classes"), [(130, 342, 1024, 4), (74, 35, 300, 2)], ids=["IEMOCAP", "MOSEI"])
@pytest.mark.parametrize("form", FORMS)
def test_the_number_of_parameters_is_that_of_the_topology(form, a, v, l, classes):  # noqa: E741
    with torch.device("meta"):
        system = build_system("mctn", {"a": a, "v": v, "l": l}, classes, 0.5, {"form": form})
    second_level = ENCODER + DECODER + linear_size(256, a) + linear_size(a, 128) + SUMMARY
    expected = {
        "ring": translator_size(a, v)
        + translator_size(v, l)
        + translator_size(l, a)
        + 3 * SUMMARY
        + classifier_size(384, classes),
        "hier": translator_size(l, v) + second_level + classifier_size(128, classes),
    }
    assert sum(parameter.numel() for parameter in system.parameters()) == expected[form]


# Blocks, each against a plain computation of one utterance at a time


def encoded_alone(encoder: SequenceEncoder, utterance: Tensor) -> Tensor:
    """Encode (frames, 128) with the framework's LSTM, without packing or padding."""
    reference = nn.LSTM(HIDDEN, HIDDEN, bidirectional=True)
    reference.load_state_dict(encoder.lstm.state_dict())
    outputs, _ = reference(utterance)
    return outputs[:, :HIDDEN] + outputs[:, HIDDEN:]


def lstm_step(cell: nn.LSTMCell, inputs: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    gates = cell.weight_ih @ inputs + cell.bias_ih + cell.weight_hh @ hidden + cell.bias_hh
    keep_in, forget, candidate, out = gates.reshape(4, HIDDEN)
    memory = torch.sigmoid(forget) * memory + torch.sigmoid(keep_in) * torch.tanh(candidate)
    return torch.sigmoid(out) * torch.tanh(memory), memory


def weighted_sum(scores: list[Tensor], values: list[Tensor]) -> Tensor:
    exponentials = [torch.exp(score) for score in scores]
    return sum(e / sum(exponentials) * value for e, value in zip(exponentials, values, strict=True))


def decoded_alone(decoder: AttentionDecoder, output: OutputLayer, joint: Tensor, steps: int = STEPS) -> Tensor:
    """Decode (frames, 128) to (steps, dim), step by step as in SPEC 4.6."""
    frames = list(joint)
    hidden = torch.tanh(decoder.start.weight @ (sum(frames) / len(frames)) + decoder.start.bias)
    memory, previous = torch.zeros(HIDDEN), torch.zeros(HIDDEN)
    decoded = []
    for _step in range(steps):
        mapped = [decoder.attention.weight @ torch.cat([hidden, frame]) + decoder.attention.bias for frame in frames]
        context = weighted_sum([decoder.score.weight[0] @ torch.tanh(value) for value in mapped], frames)
        hidden, memory = lstm_step(decoder.cell, torch.cat([previous, context]), hidden, memory)
        decoded.append(output.head.weight @ torch.cat([hidden, context]) + output.head.bias)
        previous = output.feedback.weight @ decoded[-1] + output.feedback.bias
    return torch.stack(decoded)


def random_joint(lengths: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(frames, HIDDEN) for frames in lengths]


def test_the_encoder_sums_both_directions_of_an_lstm_over_valid_frames():
    encoder, utterances = SequenceEncoder(), random_joint((4, 1, 9, 2))
    for inputs in (padded(utterances), disturbed(padded(utterances))):
        joint = encoder(inputs)
        assert joint.lengths.tolist() == [4, 1, 9, 2]
        assert not joint.values[~joint.valid()].any()
        for number, utterance in enumerate(utterances):
            expected = encoded_alone(encoder, utterance)
            torch.testing.assert_close(joint.values[number, : len(utterance)], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decoding", [{}, {"steps": 7}], ids=["by default 20 steps", "7 steps"])
def test_the_decoder_follows_its_formulas_for_each_utterance(decoding):
    decoder, output, utterances = AttentionDecoder(), OutputLayer(6), random_joint((3, 1, 7, 25))
    with torch.no_grad():
        # Attention far from uniform reveals a wrong score.
        decoder.score.weight.mul_(10)
    steps = decoder(padded(utterances), output, **decoding)
    assert steps.shape == (4, decoding.get("steps", STEPS), 6)
    for number, utterance in enumerate(utterances):
        expected = decoded_alone(decoder, output, utterance, **decoding)
        torch.testing.assert_close(steps[number], expected, rtol=1e-4, atol=1e-5)
    assert (steps[:, 0] - steps[:, -1]).abs().max() > 1e-2


def test_the_summary_weights_the_outputs_of_an_lstm_by_attention_over_valid_steps():
    summary, utterances = Summary(), random_joint((3, 1, 8))
    with torch.no_grad():
        summary.score.weight.mul_(10)
    z = summary(padded(utterances))
    assert z.shape == (3, HIDDEN)
    for number, utterance in enumerate(utterances):
        outputs = list(summary.lstm(utterance)[0])
        scores = [torch.tanh(summary.score.weight[0] @ value + summary.score.bias[0]) for value in outputs]
        torch.testing.assert_close(z[number], weighted_sum(scores, outputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decoding", [{}, {"steps": 7}], ids=["by default 20 steps", "7 steps"])
def test_the_cycle_runs_the_same_encoder_and_decoder_on_the_translation(decoding):
    translator, utterances = CyclicTranslator(5, 3), [torch.randn(frames, 5) for frames in (2, 1, 6)]
    (forth,), (back,) = translate([translator], [translator.encode(padded(utterances))], **decoding)
    steps = decoding.get("steps", STEPS)
    assert (forth.shape, back.shape) == ((3, steps, 3), (3, steps, 5))
    for number, utterance in enumerate(utterances):
        joint = encoded_alone(translator.encoder, translator.source_projection(utterance))
        expected = decoded_alone(translator.decoder, translator.target_output, joint, **decoding)
        torch.testing.assert_close(forth[number], expected, rtol=1e-4, atol=1e-5)
        joint = encoded_alone(translator.encoder, translator.target_projection(expected))
        expected = decoded_alone(translator.decoder, translator.source_output, joint, **decoding)
        torch.testing.assert_close(back[number], expected, rtol=1e-4, atol=1e-5)


def test_the_cycle_loss_has_a_gradient_in_the_translation():
    translator = CyclicTranslator(5, 3)
    _forth, (back,) = translate([translator], [translator.encode(padded([torch.randn(4, 5)]))])
    back.square().sum().backward()
    assert translator.target_output.head.weight.grad.any()
    assert translator.source_projection.weight.grad.any()


@pytest.mark.parametrize("decoding", [{}, {"steps": 7}, {"steps": 1}], ids=["by default 20 steps", "7 steps", "1 step"])
def test_targets_are_pooled_over_valid_frames(decoding):
    utterances = [100 + torch.randn(frames, 3) for frames in (1, 3, 20, 23, 47)]
    for inputs in (padded(utterances), disturbed(padded(utterances))):
        steps = pooled(inputs, **decoding)
        assert steps.shape == (5, decoding.get("steps", STEPS), 3)
        for number, utterance in enumerate(utterances):
            expected = nn.functional.adaptive_avg_pool1d(utterance.T, steps.shape[1]).T
            torch.testing.assert_close(steps[number], expected, rtol=1e-6, atol=0)


# The system


def test_the_defaults_are_the_specifications():
    declared = systems.declaration("mctn")
    assert declared.attributes == {
        "pretraining": "none",
        "regimes": ("incomplete", "all_noisy"),
        "fewest_modalities": 2,
        "modalities": {"form": {"ring": (), "hier": ("a", "v", "l")}},
    }
    assert declared.declared["form"].choices == ("ring", "hier")
    assert declared.declared["targets"].choices == ("clean", "observed")
    assert declared.declared["steps"].bounds == Bounds(1)
    assert declared.declared["translation_weight"].bounds == declared.declared["cycle_weight"].bounds == Bounds(0.0)
    assert declared.options == {
        "form": "ring",
        "targets": "clean",
        "steps": STEPS,
        "translation_weight": 0.1,
        "cycle_weight": 0.1,
    }


@pytest.mark.parametrize("steps", [STEPS, 7])
def test_the_ring_translates_a_to_v_to_l_to_a_and_classifies_the_three_summaries_in_that_order(steps):
    system = mctn(steps=steps).eval()
    batch = batch_of(random_utterances())
    outputs = system(batch)
    summaries = []
    for source, target in (("a", "v"), ("v", "l"), ("l", "a")):
        translator = system.translators[source]
        joint = translator.encode(batch.observed[source])
        (forth,), (back,) = translate([translator], [joint], steps)
        torch.testing.assert_close(outputs[f"translation_{target}"], forth)
        torch.testing.assert_close(outputs[f"cycle_{source}"], back)
        summaries.append(translator.summary(joint))
        torch.testing.assert_close(system.encode(source, batch.observed[source]), summaries[-1])
    torch.testing.assert_close(outputs["logits"], system.classifier(torch.cat(summaries, dim=1)))
    assert {name: output.shape[1:] for name, output in outputs.items() if name != "logits"} == {
        f"{kind}_{m}": (steps, dim) for kind in ("translation", "cycle") for m, dim in DIMS.items()
    }


@pytest.mark.parametrize("steps", [STEPS, 7])
def test_the_hierarchy_translates_text_to_vision_and_back_and_their_joint_sequence_to_audio(steps):
    system = mctn("hier", steps=steps).eval()
    batch = batch_of(random_utterances())
    outputs = system(batch)
    first = system.text_to_vision.encode(batch.observed["l"])
    (forth,), (back,) = translate([system.text_to_vision], [first], steps)
    second = system.joint_to_audio.encoder(first)
    audio = system.joint_to_audio.decoder(second, system.joint_to_audio.output, steps)
    classified = system.classifier(system.joint_to_audio.summary(second))
    expected = {"logits": classified, "translation_v": forth, "cycle_l": back, "translation_a": audio}
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, msg=name)
    assert audio.shape == (6, steps, DIMS["a"])


ERRORS = {"ring": ("avl", "avl"), "hier": ("va", "l")}


@pytest.mark.parametrize(
    ("translation_weight", "cycle_weight", "decoding"),
    [(0.1, 0.1, {}), (0.5, 2.0, {"translation_weight": 0.5, "cycle_weight": 2.0, "steps": 7})],
    ids=["by default", "other options"],
)
@pytest.mark.parametrize(
    ("form", "targets"), [("ring", "clean"), ("ring", "observed"), ("hier", "clean")], ids=lambda value: value
)
def test_the_terms_are_cross_entropy_and_mean_squared_errors_of_pooled_and_scaled_targets(
    form, targets, translation_weight, cycle_weight, decoding
):
    observed, clean = random_utterances(count=5), random_utterances(count=5, seed=1)
    system = mctn(form, targets=targets, **decoding).eval()
    steps = decoding.get("steps", STEPS)
    batch = batch_of(observed, clean=clean)
    outputs = system(batch)

    def error(kind: str, modalities: str) -> Tensor:
        total = 0.0
        for m in modalities:
            utterances = (clean if targets == "clean" else observed)[m]
            wanted = [nn.functional.adaptive_avg_pool1d(frames.T, steps).T / DEVIATIONS[m] for frames in utterances]
            total += ((outputs[f"{kind}_{m}"] - torch.stack(wanted)) ** 2).sum() / (5 * steps * DIMS[m])
        return total

    translated, cycled = ERRORS[form]
    expected = {
        "classification": -outputs["logits"].softmax(dim=1)[range(5), batch.labels].log().sum() / 5,
        "translation": translation_weight * error("translation", translated),
        "cycle": cycle_weight * error("cycle", cycled),
    }
    found = system.loss(outputs, batch)
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_decoding_does_not_depend_on_targets_even_in_training(form):
    def refuse(modality: str) -> Sequences:
        raise AssertionError(f"The clean {modality} was read.")

    system = mctn(form).train()
    batch = batch_of(random_utterances())
    with_targets = system(batch)
    without_targets = system(Batch(batch.observed, batch.labels, batch.noisy, clean=refuse))
    for name, output in with_targets.items():
        assert torch.equal(output, without_targets[name]), name


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_runs_no_decoder_and_equals_the_forward_pass(form, monkeypatch):
    system = mctn(form).eval()
    batch = batch_of(random_utterances())
    expected = system(batch)["logits"]

    def refuse(*_arguments):
        raise AssertionError("A decoder ran.")

    monkeypatch.setattr(translation, "decode", refuse)
    torch.testing.assert_close(logits(system, batch.observed), expected)


def test_the_hierarchy_trains_on_batches_with_text_only():
    system = mctn("hier").train()
    assert (mctn().modalities, system.modalities) == (("a", "v", "l"), ("l",))
    utterances = random_utterances()
    whole = batch_of(utterances)
    text_alone = batch_of({"l": utterances["l"]}, clean={m: [u - 0.3 for u in utterances[m]] for m in DIMS})
    expected = system.loss(system(whole), whole)
    for name, term in system.loss(system(text_alone), text_alone).items():
        torch.testing.assert_close(term, expected[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "square"}, r"systems\.mctn\.form: 'square' is not possible\. Choose from: ring, hier\."),
        ({"targets": "noisy"}, r"systems\.mctn\.targets: 'noisy' is not possible\. Choose from: clean, observed\."),
        ({"form": "hier", "targets": "observed"}, r"systems\.mctn\.targets: .*'hier'.* Set targets to 'clean'"),
    ],
)
def test_unknown_or_incompatible_forms_and_targets_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        mctn(**options)
