"""Frames from files and from device memory give the same batches, and files are validated."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from nmer.errors import DataError
from nmer.training.frames import DeviceFrames, FileFrames
from nmer.training.stored_arrays import StoredArray

OFFSET = np.array([0, 3, 4, 9, 11])
NORMALISATION = (np.array([5.0, -3.0]), np.array([0.5, 4.0]))


def copies(folder, count: int = 2) -> tuple[list[np.ndarray], list[StoredArray]]:
    arrays = [np.random.default_rng(number).standard_normal((11, 2)).astype(np.float32) for number in range(count)]
    with h5py.File(folder / "frames.h5", "w") as file:
        file["other"] = np.arange(1000)
        for number, array in enumerate(arrays):
            file[f"values{number}"] = array
    with h5py.File(folder / "frames.h5") as file:
        return arrays, [StoredArray(file[f"values{number}"]) for number in range(count)]


@pytest.mark.parametrize("normalisation", [None, NORMALISATION], ids=["unchanged", "normalised"])
@pytest.mark.parametrize("kind", [FileFrames, lambda *arguments: DeviceFrames(*arguments, torch.device("cpu"))])
def test_batches_contain_the_requested_copies_padded_with_zeros(tmp_path, kind, normalisation):
    arrays, stored = copies(tmp_path)
    frames = kind(stored, OFFSET, normalisation, 1)
    frames.replace(2, 2, lambda clean: 2 * clean)
    mean, std = normalisation or (0.0, 1.0)
    rows, chosen = [2, 0, 2, 3, 2], [0, 1, 1, 0, 2]
    found = frames.padded(torch.tensor(rows), torch.tensor(chosen))
    assert found.lengths.tolist() == [5, 3, 5, 2, 5]
    assert found.values.shape == (5, 5, 2)
    for values, row, copy in zip(found.values.numpy(), rows, chosen, strict=True):
        start, stop = OFFSET[row : row + 2]
        own = 2 * arrays[0][start:stop] if copy == 2 else arrays[copy][start:stop]
        np.testing.assert_allclose(values[: stop - start], (own - mean) / std, rtol=1e-5, atol=1e-6)
        assert not values[stop - start :].any()


@pytest.mark.parametrize("chosen", [[3], [2, 0], [0, 1, 2, 3], [3, 1]])
@pytest.mark.parametrize("block", [1, 40, 2**20])
def test_a_device_can_hold_some_utterances_only(tmp_path, monkeypatch, chosen, block):
    monkeypatch.setattr("nmer.training.frames.BLOCK_BYTES", block)
    _arrays, stored = copies(tmp_path)
    whole = FileFrames(stored, OFFSET, NORMALISATION, 1)
    part = DeviceFrames(stored, OFFSET, NORMALISATION, 1, torch.device("cpu"), np.array(chosen))
    for frames in (whole, part):
        frames.replace(chosen[0], 2, lambda clean: 2 * clean)
    rows = torch.tensor([*chosen, chosen[0], chosen[0]])
    which = torch.tensor([number % 2 for number in range(len(chosen))] + [1, 2])
    for longest in (None, 7):
        expected, found = (frames.padded(rows, which, longest) for frames in (whole, part))
        assert torch.equal(found.lengths, expected.lengths)
        torch.testing.assert_close(found.values, expected.values, rtol=1e-6, atol=1e-6)
    # Three copies of the chosen utterances and the row of padding.
    assert len(part._frames) == 3 * int(np.diff(OFFSET)[chosen].sum()) + 1


@pytest.mark.parametrize("block", [1, 24, 80, 2**20])
def test_device_memory_has_all_frames_for_any_size_of_a_block(tmp_path, monkeypatch, block):
    monkeypatch.setattr("nmer.training.frames.BLOCK_BYTES", block)
    arrays, stored = copies(tmp_path)
    frames = DeviceFrames(stored, OFFSET, None, 0, torch.device("cpu"))
    for copy, array in enumerate(arrays):
        found = frames.padded(torch.arange(4), torch.full((4,), copy))
        whole = torch.cat([values[:length] for values, length in zip(found.values, found.lengths, strict=True)])
        assert np.array_equal(whole.numpy(), array)


def test_a_truncated_file_is_refused_by_name(tmp_path):
    _arrays, stored = copies(tmp_path, 1)
    path = tmp_path / "frames.h5"
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"frames\.h5: ends too early"):
        stored[0].read(0, np.empty((11, 2), np.float32))
    with pytest.raises(DataError, match=r"frames\.h5: ends too early"):
        DeviceFrames(stored, OFFSET, None, 0, torch.device("cpu"))


@pytest.mark.parametrize(
    "storage",
    [{"chunks": (2, 2)}, {"compression": "gzip"}, {"dtype": np.float64}],
    ids=lambda storage: next(iter(storage)),
)
def test_an_array_that_cannot_be_read_directly_from_its_file_is_refused(tmp_path, storage):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        dataset = file.create_dataset("values", data=np.zeros((4, 2)), **({"dtype": np.float32} | storage))
        with pytest.raises(DataError, match=r"odd\.h5: /values is not a plain float32 array"):
            StoredArray(dataset)
