"""Central moment discrepancy of batches of features (SPEC 4.3)."""

from __future__ import annotations

from torch import Tensor

from nmer.systems.interface import summed


def central_moment_discrepancy(first: Tensor, second: Tensor, moments: int = 5) -> Tensor:
    """Return the CMD of two batches of features, (batch, width) each.

    It sums the distances of the means and of the central moments 2..``moments`` (SPEC 4.3). 1e-12 inside each square
    root keeps the gradient finite for identical batches.
    """
    centred = first - first.mean(dim=0), second - second.mean(dim=0)
    differences = [first.mean(dim=0) - second.mean(dim=0)]
    differences += [centred[0].pow(k).mean(dim=0) - centred[1].pow(k).mean(dim=0) for k in range(2, moments + 1)]
    return summed((difference.square().sum() + 1e-12).sqrt() for difference in differences)


def mean_cmd(features: dict[str, Tensor]) -> Tensor:
    """Average the CMD of invariant features over the pairs of modalities: (l, v), (l, a), (a, v), if both exist (SPEC
    4.3, 13). features: of at least two modalities."""
    pairs = [pair for pair in (("l", "v"), ("l", "a"), ("a", "v")) if set(pair) <= set(features)]
    return summed(central_moment_discrepancy(features[one], features[other]) for one, other in pairs) / len(pairs)
