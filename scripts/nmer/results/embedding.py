"""Algorithm 2: how far noise moves utterances, measured in a joint t-SNE plane and in feature space (SPEC 6.5).

t-SNE distances compare the two sets within one fit. Their scale is arbitrary across fits, and they need not grow with
noise if noise shrinks the features. The raw distance has neither problem. Not for drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from openTSNE import TSNE
from sklearn.decomposition import PCA

from nmer.embedding_settings import EMBEDDING, PERPLEXITY, SAMPLES
from nmer.errors import DataError
from nmer.seeds import derive_seed, generator

PRINCIPAL_COMPONENTS = 50
FRAMES = {"a": 50, "v": 50, "l": 22}
"""Frames to which a sequence is padded or cut before flattening (SPEC 6.5)."""


@dataclass(frozen=True)
class Embedding:
    """Points of N utterances in one t-SNE plane, (N, 2) each, and the two mean distances between pairs."""

    original: np.ndarray
    noisy: np.ndarray
    tsne_distance: float
    raw_distance: float


def choose(positions: np.ndarray, dataset: str, samples: int = SAMPLES, seed: int = EMBEDDING["seed"]) -> np.ndarray:
    """Sample ``positions`` without replacement, ascending; return all of them if there are at most ``samples``.

    The choice depends only on seed and dataset, so every panel shows the same utterances.
    """
    if len(positions) <= samples:
        return positions
    return np.sort(generator("embedding", seed, dataset).choice(positions, samples, replace=False))


def flatten(sequences: list[np.ndarray], frames: int) -> np.ndarray:
    """Pad with zeros or cut sequences (frames_i, dim) to ``frames`` and flatten them: (N, frames * dim) float64."""
    flat = np.zeros((len(sequences), frames, sequences[0].shape[1]))
    for row, sequence in zip(flat, sequences, strict=True):
        row[: len(sequence)] = sequence[:frames]
    return flat.reshape(len(sequences), -1)


def pair_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean Euclidean distance between corresponding rows of x and y, both (N, dim). Source: Algorithm 2."""
    return float(np.linalg.norm(x - y, axis=1).mean())


def embed(x: np.ndarray, y: np.ndarray, perplexity: float = PERPLEXITY, seed: int = EMBEDDING["seed"]) -> Embedding:
    """Embed originals x and noisy copies y, both (N, dim), in one plane: PCA, then one t-SNE fit on all 2N points.

    The perplexity is reduced if 2N points require it. Raises DataError if N < 2. Source: SPEC 6.5, openTSNE.
    """
    if len(x) < 2:
        raise DataError("t-SNE needs at least two test utterances in fold 1. Leave this dataset out of the figure.")
    points = np.concatenate([x, y])
    components = min(PRINCIPAL_COMPONENTS, *points.shape)
    reduced = PCA(components, svd_solver="full").fit_transform(points)
    plane = np.asarray(
        TSNE(
            n_components=2,
            perplexity=min(perplexity, (len(points) - 1) / 3),
            initialization="pca",
            neighbors="exact",
            negative_gradient_method="bh",
            n_jobs=1,  # more threads would sum in another order, which changes the last digits
            random_state=derive_seed("t-sne", seed) % 2**31,
        ).fit(reduced)
    )
    original, noisy = plane[: len(x)], plane[len(x) :]
    raw = pair_distance(x, y) / np.sqrt(x.shape[1])
    return Embedding(original, noisy, pair_distance(original, noisy), float(raw))
