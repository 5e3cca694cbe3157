"""Embed original and noisy utterances in one t-SNE plane and measure how far noise moved them (Algorithm 2).

For each modality: up to 128 test utterances of fold 1, sequences of fixed length flattened, PCA to 50 dimensions, one
joint t-SNE fit on originals and noisy copies, mean distance between pairs. The raw distance is the mean distance of
the flattened sequences divided by the square root of their dimension. It does not depend on t-SNE's arbitrary scale.

Settings: {"dataset": "iemocap", "noise": "gaussian", "snr_db": -10} and, if they differ from the paper's,
          "samples": 128, "perplexity": 30, "seed": 0, "frames": {"a": 50, "v": 50, "l": 22}
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nmer import command
from nmer.digests import check_digests
from nmer.embedding_settings import EMBEDDING
from nmer.files import write_text
from nmer.results.embedding import FRAMES, choose, embed, flatten
from nmer.results.feature_pairs import read_modalities, read_pairs, read_test_utterances


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--features", required=True, help="feature store, HDF5")
    parser.add_argument("--noisy", required=True, help="its noisy embeddings, HDF5")
    parser.add_argument("--points", required=True, help="output: the points of the plane, CSV")
    parser.add_argument("--distances", required=True, help="output: mean distances, CSV")
    arguments = parser.parse_args()

    settings = {**EMBEDDING, "snr_db": None} | arguments.settings
    check_digests(arguments.features, arguments.noisy)
    positions, names = read_test_utterances(arguments.features)
    chosen = choose(positions, settings["dataset"], settings["samples"], settings["seed"])
    utterances = [name for position, name in zip(positions, names, strict=True) if position in set(chosen)]
    about = {key: settings[key] for key in ("dataset", "noise", "snr_db")}

    points, distances = [], []
    for modality in read_modalities(arguments.features):
        longest = (FRAMES | settings.get("frames", {}))[modality]
        pairs, frames = read_pairs(arguments.features, arguments.noisy, modality, chosen, longest)
        x, y = flatten(pairs.original, frames), flatten(pairs.noisy, frames)
        plane = embed(x, y, settings["perplexity"], settings["seed"])
        for kind, where in (("original", plane.original), ("noisy", plane.noisy)):
            rows = pd.DataFrame({"utterance": utterances, "x": where[:, 0], "y": where[:, 1]})
            points.append(rows.assign(**about, modality=modality, kind=kind))
        distances.append((modality, plane.tsne_distance, plane.raw_distance))
    distances.append(("mean", *np.mean([row[1:] for row in distances], axis=0)))

    table = pd.concat(points)[[*about, "modality", "kind", "utterance", "x", "y"]]
    write_text(arguments.points, table.to_csv(index=False, float_format="%.5f"))
    table = pd.DataFrame(distances, columns=["modality", "tsne_distance", "raw_distance"])
    table = table.assign(**about, samples=len(chosen))[[*about, "modality", "samples", "tsne_distance", "raw_distance"]]
    write_text(arguments.distances, table.to_csv(index=False, float_format="%.6f"))


if __name__ == "__main__":
    command.run(main)
