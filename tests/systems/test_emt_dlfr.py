"""EMT-DLFR computes SYSTEMS.md, section 2."""

from __future__ import annotations

import math

import pytest
import torch
from small_systems import DEVIATIONS, DIMS, batch_of, cross_entropy, padded, random_utterances, small_system
from torch.nn.functional import gelu, layer_norm

from nmer.systems.emt_dlfr import Attraction, Exchange, Frames, sinusoids


def test_sinusoids_are_those_of_the_transformer():
    found = sinusoids(torch.zeros(1, 7, 128))
    for frame, dim in ((0, 0), (3, 1), (5, 64), (6, 127)):
        angle = frame / 10_000 ** (2 * (dim // 2) / 128)
        assert found[frame, dim].item() == pytest.approx(math.cos(angle) if dim % 2 else math.sin(angle), abs=1e-5)


def plain_attention(part, queries: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
    """queries: (n, 128). context: (k, 128)."""
    own = layer_norm(queries, (128,))
    read = own if context is None else layer_norm(context, (128,))
    query, both = part.query(own), part.key_value(read)
    heads = []
    for number in range(4):
        here = slice(32 * number, 32 * number + 32)
        scores = query[:, here] @ both[:, :128][:, here].T / math.sqrt(32)
        heads.append(torch.softmax(scores, dim=1) @ both[:, 128:][:, here])
    return part.output(torch.cat(heads, dim=1))


def plain_exchange(unit: Exchange, queries: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    queries = queries + plain_attention(unit.to_context, queries, context)
    queries = queries + plain_attention(unit.to_itself, queries, None)
    wide = unit.gated(layer_norm(queries, (128,)))
    return queries + unit.output(wide[:, :512] * gelu(wide[:, 512:]))


@torch.no_grad()
def test_fusion_exchanges_tokens_and_frames_layer_by_layer_utterance_by_utterance():
    system = small_system("emt_dlfr", layers=2).eval()
    observed = {m: padded(own) for m, own in random_utterances(3).items()}
    encodings = {m: system.encode(m, observed[m]) for m in DIMS}
    found = system.fuse(encodings)
    for number in range(3):
        own = {m: encodings[m].values[number, : encodings[m].lengths[number]] for m in "lav"}
        summaries = {m: frames[-1] for m, frames in own.items()}
        frames = {m: own[m] + sinusoids(own[m]) for m in "lav"}
        tokens = torch.stack(list(summaries.values()))
        for _layer in range(2):
            updated = [plain_exchange(system.exchange, tokens, frames[m]) for m in "lav"]
            frames = {m: plain_exchange(system.exchange, frames[m], tokens) for m in "lav"}
            shares = torch.softmax(torch.cat([system.pooling(each.flatten()) for each in updated]), dim=0)
            tokens = sum(share * each for share, each in zip(shares, updated, strict=True))
        joint = torch.cat([*summaries.values(), tokens.flatten()])
        torch.testing.assert_close(found["logits"][number], system.classifier(joint), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_summary_is_the_state_of_the_lstm_at_the_last_frame():
    system, utterances = small_system("emt_dlfr"), random_utterances(4)["v"]
    found = system.encode("v", padded(utterances))
    assert isinstance(found, Frames)
    for number, frames in enumerate(utterances):
        outputs, (last, _cell) = system.encoders["v"](frames)
        torch.testing.assert_close(found.values[number, : len(frames)], outputs)
        torch.testing.assert_close(found.summary[number], last[0])
        assert not found.values[number, len(frames) :].any()


def normalised(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean(dim=0)) / (values.var(dim=0, unbiased=False) + 1e-5).sqrt()


def test_attraction_is_minus_the_mean_cosine_without_gradient_to_the_projections():
    part, observed, clean = Attraction(8, 4), torch.randn(5, 8), torch.randn(5, 8)
    projected = [normalised(part.projector[0](view)) for view in (observed, clean)]
    predicted = [part.predictor[3](torch.relu(normalised(part.predictor[0](view)))) for view in projected]

    def cosines(first, second):
        return (first * second).sum(dim=1) / first.norm(dim=1) / second.norm(dim=1)

    expected = -(cosines(predicted[0], projected[1]) + cosines(predicted[1], projected[0])).mean() / 2
    torch.testing.assert_close(part(observed, clean), expected, rtol=1e-4, atol=1e-5)
    assert expected >= -1
    stopped = -(cosines(predicted[0], projected[1].detach()) + cosines(predicted[1], projected[0].detach())).mean() / 2
    gradients = [torch.autograd.grad(loss, part.projector[0].weight)[0] for loss in (part(observed, clean), stopped)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)
    assert part(observed[:1], clean[:1]).item() == 0


@pytest.mark.parametrize("scaled", [True, False])
def test_every_term_of_the_loss(scaled):
    options = {"attraction_weight": 2.0, "reconstruction_weight": 3.0, "scaled_targets": scaled}
    system = small_system("emt_dlfr", **options).train()
    batch = batch_of(random_utterances(6), teacher_width=0)
    clean_batch = batch_of({m: [frames - 0.3 for frames in own] for m, own in random_utterances(6).items()})
    outputs = system(batch)
    found = system.loss(outputs, batch)
    views = [
        system.fuse({m: system.encode(m, view[m]) for m in DIMS}) for view in (batch.observed, clean_batch.observed)
    ]
    rebuilt = 0.0
    for m in DIMS:
        distances = []
        guess = system.reconstruction[m](views[0][f"frames_{m}"])
        for number in batch.noisy[m].nonzero().flatten().tolist():
            frames = random_utterances(6)[m][number] - 0.3
            difference = (guess[number, : len(frames)] - frames / (DEVIATIONS[m] if scaled else 1)).abs().flatten()
            distances += [0.5 * d**2 if d < 1 else d - 0.5 for d in difference]
        rebuilt = rebuilt + sum(distances) / (len(distances) + 1e-6)
    drawn = sum(part(views[0][name], views[1][name]) for name, part in system.attraction.items())
    expected = {
        "classification": cross_entropy(views[0]["logits"], batch.labels),
        "clean_classification": 2 * cross_entropy(views[1]["logits"], batch.labels),
        "attraction": 2 * drawn,
        "reconstruction": 3 * rebuilt,
    }
    assert set(found) == set(expected)
    assert set(system.attraction) == {"global", *DIMS}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_clean_utterances_are_their_own_clean_view_and_are_not_reconstructed():
    system, utterances = small_system("emt_dlfr").train(), random_utterances(4)
    batch = batch_of(utterances, teacher_width=0, clean=utterances)
    clean = type(batch)(batch.observed, batch.labels, {m: flags & False for m, flags in batch.noisy.items()})
    clean = type(batch)(**{**vars(clean), "clean": batch.clean, "deviations": batch.deviations})
    terms = system.loss(system(clean), clean)
    torch.testing.assert_close(terms["classification"], terms["clean_classification"])
    assert terms["reconstruction"].item() == 0


def test_all_layers_share_one_exchange():
    names = {name.split(".")[0] for name in small_system("emt_dlfr", layers=3).state_dict()}
    assert names == {"encoders", "exchange", "pooling", "classifier", "attraction", "reconstruction"}


def test_a_batch_of_one_utterance_trains():
    system = small_system("emt_dlfr").train()
    batch = batch_of(random_utterances(1), teacher_width=0)
    terms = system.loss(system(batch), batch)
    assert terms["attraction"].item() == 0
    sum(terms.values()).backward()
