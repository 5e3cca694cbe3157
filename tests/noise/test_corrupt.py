"""The corruption step equals a naive loop, and the noise of an utterance depends on its names only."""

from __future__ import annotations

import hashlib
import math
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from small_store import DIMS, IDS, corrupt_store, make_noisy, make_store, read_levels, read_noisy, utterance

from nmer.corpora import streaming


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("corrupt") / "small.h5")


def naive_eps(name: str, modality: str, kind: str, seed: int) -> np.ndarray:
    text = f'["noise",{seed},"small","{name}","{modality}","{kind}",0]'
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    generator = np.random.Generator(np.random.Philox(key=key))
    shape = utterance(modality, name).shape
    if kind == "gaussian":
        return generator.standard_normal(shape, dtype=np.float32)
    draw = generator.random(shape, dtype=np.float32)
    return np.where(draw < 0.15, -1.0, np.where(draw < 0.3, 1.0, 0.0))


@pytest.mark.parametrize(("kind", "seed"), [("gaussian", 0), ("impulse", 5)])
def test_noisy_embeddings_equal_those_of_a_naive_loop(features, tmp_path, kind, seed):
    output = make_noisy(features, tmp_path, kind, seed=seed)
    levels, noisy = read_levels(output.with_suffix(".csv")), read_noisy(output)
    acoustic = np.concatenate([utterance("a", name) for name in IDS]).astype(np.float64)
    space = {"a": (acoustic.mean(axis=0), acoustic.std(axis=0))}
    for modality in DIMS:
        kept = np.prod(1 - np.linspace(0.001, 0.1, int(levels[modality]["T"])))
        mean, std = space.get(modality, (0.0, 1.0))
        for name in IDS:
            standardised = (utterance(modality, name).astype(np.float64) - mean) / std
            eps = naive_eps(name, modality, kind, seed)
            expected = mean + std * (math.sqrt(kept) * standardised + math.sqrt(1 - kept) * eps)
            np.testing.assert_allclose(noisy[modality][name], expected, rtol=1e-5, atol=1e-5)


# A block of l, the widest modality, holds a part of an utterance, one utterance, or two and a half utterances.
@pytest.mark.parametrize("frames", [4, 6, 15])
def test_the_size_of_the_blocks_does_not_matter(features, tmp_path, monkeypatch, frames):
    whole = make_noisy(features, tmp_path / "whole")
    monkeypatch.setattr(streaming, "BLOCK_BYTES", frames * 4 * DIMS["l"])
    blocks = make_noisy(features, tmp_path / "blocks")
    with h5py.File(whole) as one, h5py.File(blocks) as other:
        for modality in DIMS:
            np.testing.assert_array_equal(one[modality]["values"], other[modality]["values"])
            assert one[modality].attrs["measured_db"] == pytest.approx(other[modality].attrs["measured_db"])


@pytest.mark.parametrize("kind", ["gaussian", "drop_frames"])
@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_does_not_matter(features, tmp_path, monkeypatch, kind, threads):
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 4 * 4 * DIMS["l"])
    alone = make_noisy(features, tmp_path, kind, snr_db=-10 if kind == "gaussian" else None)
    together = tmp_path / "together.h5"
    settings = {"dataset": "small", "noise": kind, "seed": 0, "draws": 1}
    measured = corrupt_store(features, alone.with_suffix(".csv"), together, settings, threads=threads)
    assert measured.read_bytes() == alone.with_name(f"{alone.stem}_measured.csv").read_bytes()
    for m, utterances in read_noisy(alone).items():
        for name, values in utterances.items():
            np.testing.assert_array_equal(read_noisy(together)[m][name], values)


def test_the_noise_does_not_depend_on_the_level(features, tmp_path):
    eps = []
    for level in (-10, -20):
        output = make_noisy(features, tmp_path, snr_db=level)
        kept = {m: float(row["alpha_bar"]) for m, row in read_levels(output.with_suffix(".csv")).items()}
        noisy = read_noisy(output)
        eps.append(
            {
                (m, u): (noisy[m][u] - math.sqrt(kept[m]) * utterance(m, u)) / math.sqrt(1 - kept[m])
                for m in "vl"
                for u in IDS
            }
        )
    for key, first in eps[0].items():
        np.testing.assert_allclose(first, eps[1][key], atol=1e-5)


def test_the_noise_of_an_utterance_depends_on_neither_order_nor_neighbours(features, tmp_path):
    noisy = read_noisy(make_noisy(features, tmp_path / "all", mode="exact_abar", snr_db=-10))
    chosen = ("u4", "u0", "u6")
    few = make_store(tmp_path / "few.h5", chosen)
    # The level depends on the variance of all utterances, so use the calibration of the whole corpus.
    output = tmp_path / "few" / "x.h5"
    calibration = tmp_path / "all" / "gaussian_-10dB.csv"
    settings = {"dataset": "small", "noise": "gaussian"}
    corrupt_store(few, calibration, output, settings)
    found = read_noisy(output, chosen)
    for modality in "vl":
        for name in chosen:
            np.testing.assert_array_equal(found[modality][name], noisy[modality][name])


def test_reordered_utterances_keep_their_noise_in_a_standardised_modality(features, tmp_path):
    order = ("u5", "u2", "Ü1", "u0", "u6", "u4", "u3")
    noisy = read_noisy(make_noisy(features, tmp_path / "all"))
    found = read_noisy(make_noisy(make_store(tmp_path / "x.h5", order), tmp_path / "other"), order)
    for modality in DIMS:
        for name in IDS:
            np.testing.assert_allclose(found[modality][name], noisy[modality][name], rtol=1e-5, atol=1e-5)


def test_the_seed_determines_the_noise(features, tmp_path):
    first, again, other = (
        read_noisy(make_noisy(features, tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for modality in DIMS:
        for name in IDS:
            np.testing.assert_array_equal(first[modality][name], again[modality][name])
            assert (first[modality][name] != other[modality][name]).all()


def test_stored_rows_of_zeros_receive_noise_like_any_other(features, tmp_path):
    output = make_noisy(features, tmp_path)
    noisy = read_noisy(output)
    kept = float(read_levels(output.with_suffix(".csv"))["l"]["alpha_bar"])
    padding = np.concatenate([noisy["l"][name][3:] for name in IDS])
    assert (padding != 0).all()
    assert padding.std() == pytest.approx(math.sqrt(1 - kept), rel=5 / math.sqrt(2 * padding.size))


def test_the_file_records_its_level_and_measured_snr(features, tmp_path):
    output = make_noisy(features, tmp_path, "impulse", seed=3)
    levels, noisy = read_levels(output.with_suffix(".csv")), read_noisy(output)
    with h5py.File(output) as file:
        for modality in DIMS:
            attributes, level = file[modality].attrs, levels[modality]
            kept = float(level["alpha_bar"])
            assert (attributes["T"], attributes["seed"]) == (level["T"], 3)
            assert attributes["alpha_bar"] == kept
            power = np.mean(np.concatenate([naive_eps(u, modality, "impulse", 3).ravel() for u in IDS]) ** 2)
            measured = 10 * math.log10(kept * float(level["variance"]) / ((1 - kept) * power))
            assert attributes["measured_db"] == pytest.approx(measured, abs=1e-6)
            assert file[modality]["values"].dtype == np.float32
            assert len(file[modality]["values"]) == sum(len(noisy[modality][name]) for name in IDS)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the program sha256sum (GNU coreutils)")
def test_equal_settings_make_equal_files_with_a_digest_next_to_them(features, tmp_path):
    first, second = make_noisy(features, tmp_path / "one"), make_noisy(features, tmp_path / "two")
    check = ["sha256sum", "--check", "--strict", f"{first.name}.sha256"]
    assert subprocess.run(check, cwd=first.parent, capture_output=True).returncode == 0
    assert first.read_bytes() == second.read_bytes()


def test_a_custom_kind_is_added_by_the_same_closed_form(features, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "import numpy as np\nfrom nmer.noise.registry import noise_kind\n\n\n"
        '@noise_kind("ones")\ndef ones(shape, generator, *, height=1.0):\n'
        "    return np.full(shape, height, np.float32)\n"
    )
    output = make_noisy(features, tmp_path, "ones", file=str(own), options={"height": 2.0})
    levels, noisy = read_levels(output.with_suffix(".csv")), read_noisy(output)
    kept = float(levels["v"]["alpha_bar"])
    for name in IDS:
        expected = math.sqrt(kept) * utterance("v", name) + 2 * math.sqrt(1 - kept)
        np.testing.assert_allclose(noisy["v"][name], expected, rtol=1e-5)
