"""The content of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_fold import DIMS, IDS, fold_data, make_files, normalised, run_settings, utterance

from nmer.plan.conditions import training_copies, training_flags
from nmer.training.batches import epoch_batches, make_batch


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


def test_a_batch_provides_clean_sequences_and_standard_deviations(data):
    rows = data.splits["train"][[3, 0, 5]]
    batch = make_batch(data, rows, torch.ones(3, 3, dtype=torch.bool))
    for modality in DIMS:
        clean, observed = batch.clean(modality), batch.observed[modality]
        for place, number in enumerate(rows.tolist()):
            frames = int(clean.lengths[place])
            for sequences, noisy in ((clean, False), (observed, True)):
                expected = normalised(modality, number, noisy)
                assert len(expected) == frames
                np.testing.assert_allclose(sequences.values[place, :frames], expected, atol=1e-4)
        everything = np.concatenate([utterance(modality, number) for number in range(len(IDS))]).astype(np.float64)
        # A standardised modality is in units of its standard deviation (SPEC 2.6).
        deviation = 1.0 if modality == "a" else everything.std()
        assert batch.deviations[modality] == pytest.approx(deviation, rel=1e-5)


def test_a_system_receives_only_the_modalities_that_it_reads(data):
    flags = torch.zeros(2, 3, dtype=torch.bool)
    assert set(make_batch(data, data.splits["train"][:2], flags, modalities=("v",)).observed) == {"v"}


def test_the_batches_of_an_epoch_give_every_utterance_its_condition_and_copy_of_that_epoch(data):
    settings, count = run_settings(regime="incomplete", train_draws=3), len(data.training_rows)
    batches = epoch_batches(data, settings, [1, 2], 5)
    for number, repeat in enumerate((1, 2)):
        rows, noisy, copies = (
            torch.cat([getattr(batch, name).unflatten(0, (2, -1))[number] for batch in batches]).numpy()
            for name in ("rows", "noisy", "copies")
        )
        order = np.argsort(rows)
        np.testing.assert_array_equal(rows[order], data.training_rows)
        assert (rows != data.training_rows).any()
        names = ("small", 1, repeat, 5)
        np.testing.assert_array_equal(noisy[order], training_flags("incomplete", count, *names))
        np.testing.assert_array_equal(copies[order], training_copies(3, count, *names))
