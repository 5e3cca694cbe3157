"""Batched matrix products in shapes that are slow on GPUs: few products, small results, sums over very many rows.

cuBLAS computes a block of the result on one multiprocessor. A product with a small result leaves most of a GPU idle
unless its sum is split (docs/performance.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_PARTS = 32
ROWS_OF_A_PART = 512
TILE = 128
"""Rows and columns of a block of the result."""
TILES = 256
"""Blocks that occupy a large GPU."""


def sum_of_products(first: Tensor, second: Tensor) -> Tensor:
    """Sum the outer products of (n, rows, p) and (n, rows, q) over rows: (n, p, q)."""
    count, rows = first.shape[:2]
    tiles = count * -(-first.shape[2] // TILE) * -(-second.shape[2] // TILE)
    parts = divisor(rows, max(1, min(MOST_PARTS, rows // ROWS_OF_A_PART, TILES // tiles)))
    if parts == 1:
        return torch.bmm(first.transpose(1, 2), second)
    split = [whole.unflatten(1, (parts, -1)).flatten(0, 1) for whole in (first, second)]
    total: Tensor = torch.bmm(split[0].transpose(1, 2), split[1]).unflatten(0, (count, parts)).sum(dim=1)
    return total


def divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number up to ``most``."""
    return next(part for part in range(most, 0, -1) if number % part == 0)
