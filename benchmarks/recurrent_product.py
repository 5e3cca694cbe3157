"""Time the recurrent products of LSTMs on a GPU, computed whole and in parts of the batch.

A step of the backward pass multiplies the gradients of the gates of every utterance, (LSTMs, utterances, 512), with the
hidden weights of its LSTM, (512, 128). cuBLAS is slow for some of these shapes. Separate products for parts
of the batch are up to twice as fast (``product_parts`` in scripts/nmer/systems/blocks/fused_lstm.py). Prints
microseconds of a product in a replayed CUDA graph as a Markdown table; ``*`` marks the choice of the code. Needs a CUDA
device.

Example: .venv/bin/python benchmarks/recurrent_product.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lstm_forms import HIDDEN, replayed

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

LSTMS = (1, 3, 6)
UTTERANCES = (16, 32, 48, 64, 96, 128)
PARTS = (1, 2, 4, 8, 16, 32)
PRODUCTS = 100
"""Products of a measured graph."""


def main() -> None:
    """Measure and print."""
    if not torch.cuda.is_available():
        sys.exit("error: no CUDA device is available.")
    from nmer.devices import compute_device

    with compute_device(1, torch.get_num_threads()) as device, torch.device(device):
        print(torch.cuda.get_device_name(), torch.__version__)
        print(f"| LSTMs | utterances | {' | '.join(f'{parts} parts' for parts in PARTS)} | single rows |")
        print("|---" * (len(PARTS) + 3) + "|")
        for lstms in LSTMS:
            for utterances in UTTERANCES:
                print(f"| {lstms} | {utterances} | {' | '.join(times(lstms, utterances))} |", flush=True)


def times(lstms: int, utterances: int) -> list[str]:
    """Return the microseconds of a product for every number of parts."""
    from nmer.systems.blocks.fused_lstm import product_parts

    gradients = torch.randn(lstms, utterances, 4 * HIDDEN)
    result, weights = torch.randn(lstms, utterances, HIDDEN), torch.randn(lstms, 4 * HIDDEN, HIDDEN)
    found = []
    for parts in (*PARTS, utterances):
        if utterances % parts:
            found.append("")
            continue
        split = [whole.unflatten(1, (parts, -1)).flatten(0, 1) for whole in (result, gradients)]
        repeated = weights.repeat_interleave(parts, dim=0)

        def products(split=split, repeated=repeated) -> None:
            for _ in range(PRODUCTS):
                split[0].baddbmm_(split[1], repeated)

        chosen = "*" if parts == product_parts(lstms, utterances) else ""
        found.append(f"{replayed(products) * 1e3 / PRODUCTS:.1f}{chosen}")
    return found


if __name__ == "__main__":
    main()
