"""Compare how fast noisy embeddings are made with a loop over utterances and with the limits of the machine.

For synthetic corpora in the shapes of IEMOCAP and CMU-MOSEI, in turn, each in a separate process:
  - the loop: reads every utterance and modality individually, adds noise by the closed form and writes it;
  - the workflow's code, with one thread and with two;
  - only drawing as many random numbers, the limit of one core, and only copying as many bytes in memory, the limit of
    the machine.
Checks that loop and workflow write the same values. Prints a Markdown table: medians, and for ratios, computed per run,
also the range.

Example: .venv/bin/python benchmarks/noise_cache.py
         .venv/bin/python benchmarks/noise_cache.py --scale 0.05 --repeats 1 --folder /tmp
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import feature_store
import h5py
import numpy as np

sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))

from nmer.corpora.store import FeatureStore
from nmer.corpora.streaming import create_values
from nmer.hdf5_output import create_file
from nmer.names import MODALITIES
from nmer.noise.corruption import NoiseSource
from nmer.noisy_embeddings.noisy import corrupt_modality
from nmer.seeds import generator

LEVEL = {"T": "60", "alpha_bar": "0.2", "variance": "1"}
COLUMNS = (
    "corpus",
    "MB",
    "loop, MB/s",
    "one thread, MB/s",
    "two threads, MB/s",
    "one thread to loop (range)",
    "two threads to loop (range)",
    "random numbers only, MB/s",
    "copy in memory, MB/s",
)


def main() -> None:
    """Generate, measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--scale", type=float, default=0.25, help="share of the utterances of the real corpora")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for dataset, (layout, generate) in feature_store.CORPORA.items():
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as folder:
            store = Path(folder) / "features.h5"
            sized = {**generate, "utterances": max(100, round(arguments.scale * generate["utterances"]))}
            make_store(Path(folder), dataset, layout, sized, store)
            print(f"| {' | '.join(measure(dataset, store, arguments.repeats))} |", flush=True)


def make_store(folder: Path, dataset: str, layout: str, generate: dict, store: Path) -> None:
    """Generate a corpus and write its feature store."""
    settings, corpus, scripts = (
        {"dataset": dataset, "layout": layout},
        folder / "corpus",
        feature_store.REPOSITORY / "scripts",
    )
    feature_store.run_step(scripts, "generate_corpus.py", {**settings, "generate": generate}, output=corpus)
    feature_store.in_process(feature_store.build, scripts, settings, next(corpus.glob("*.pkl"), corpus), store)


def measure(dataset: str, store: Path, repeats: int) -> list[str]:
    """Measure a corpus and return its row."""
    looped, noisy = store.with_name("loop.h5"), store.with_name("noisy.h5")
    with FeatureStore(store) as opened:
        size = sum(opened.values(m).size for m in MODALITIES)
    ways = {
        "loop": (loop, dataset, store, looped),
        "one": (workflow, dataset, store, noisy, 1),
        "two": (workflow, dataset, store, noisy, 2),
        "random": (draw, size),
        "copy": (copy, size),
    }
    rates = {name: [] for name in ways}
    for _repeat in range(repeats):
        for name, way in ways.items():
            rates[name].append(4 * size / feature_store.MB / feature_store.in_process(*way)[0])
        compare(looped, noisy)
    middle = {name: f"{statistics.median(each):.0f}" for name, each in rates.items()}
    ratios = []
    for name in ("one", "two"):
        each = [way / loop for way, loop in zip(rates[name], rates["loop"], strict=True)]
        ratios.append(f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})")
    megabytes = f"{4 * size / feature_store.MB:.0f}"
    return [dataset, megabytes, middle["loop"], middle["one"], middle["two"], *ratios, middle["random"], middle["copy"]]


def loop(dataset: str, store: Path, output: Path) -> float:
    """Return the seconds to corrupt utterance by utterance."""
    kept, added = (math.sqrt(part) for part in (float(LEVEL["alpha_bar"]), 1 - float(LEVEL["alpha_bar"])))
    started = time.perf_counter()
    with FeatureStore(store) as features, create_file(output) as file:
        for m in MODALITIES:
            create_values(file, m, *features.values(m).shape)
        for index, utterance in enumerate(features.ids):
            for m in MODALITIES:
                start, stop = features.offset(m)[index : index + 2]
                values = features.values(m)[start:stop]
                random = generator("noise", 0, dataset, utterance, m, "gaussian", 0)
                eps = random.standard_normal(values.shape, dtype=np.float32)
                space = features.corruption_space(m)
                mean, std = (part.astype(np.float32) for part in space) if space else (0, 1)
                file[m]["values"][start:stop] = mean + kept * (values - mean) + added * std * eps
    return time.perf_counter() - started


def workflow(dataset: str, store: Path, output: Path, threads: int) -> float:
    """Return the seconds to corrupt like the step."""
    source = NoiseSource.load("gaussian", dataset)
    started = time.perf_counter()
    with FeatureStore(store) as features, create_file(output) as file:
        for m in MODALITIES:
            corrupt_modality(features, file, m, source, LEVEL, threads=threads)
    return time.perf_counter() - started


def draw(size: int) -> float:
    """Return the seconds to draw ``size`` numbers in blocks of a megabyte."""
    random, block = generator("benchmark"), 2**18
    started = time.perf_counter()
    for _ in range(0, size, block):
        random.standard_normal(block, dtype=np.float32)
    return time.perf_counter() - started


def copy(size: int) -> float:
    """Return the seconds to copy ``size`` numbers in memory."""
    source, target = np.ones(size, np.float32), np.zeros(size, np.float32)
    started = time.perf_counter()
    np.copyto(target, source)
    return time.perf_counter() - started


def compare(looped: Path, noisy: Path) -> None:
    """Raise AssertionError if the two files differ by more than rounding."""
    with h5py.File(looped) as one, h5py.File(noisy) as other:
        for m in MODALITIES:
            for start in range(0, len(one[m]["values"]), 10_000):
                rows = slice(start, start + 10_000)
                np.testing.assert_allclose(one[m]["values"][rows], other[m]["values"][rows], rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main()
