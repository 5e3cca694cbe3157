"""``nmer predict``: apply a trained system to new features."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nmer.cli.outputs import check_output
from nmer.errors import ConfigError, DataError

EXAMPLES = {
    "predict": """The features are an HDF5 file of ragged arrays or a folder of .npy files (docs/command.md), in the
units that the training corpus came in; the model's own normalisation is applied.

Examples:
  nmer predict --model results/demo/runs/.../model.safetensors --features new.h5 --out predictions.csv
  nmer predict --model model.safetensors --features clips/ --repeats 1 --out predictions.csv
  nmer predict --model model.safetensors --features results/features/mosi.h5 --split test --out test.csv"""
}


def add_arguments(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add the arguments for model, features and output."""
    parser.add_argument("--model", required=True, type=Path, help="model.safetensors of a finished training")
    parser.add_argument("--features", required=True, type=Path, help="HDF5 file, or folder of .npy files")
    parser.add_argument("--out", required=True, type=Path, help="CSV to write")
    parser.add_argument("--repeats", nargs="+", type=int, help="repeats of the model to use (default: all)")
    parser.add_argument("--split", help="only the utterances of a split of a feature store: train, val or test")
    parser.add_argument("--fold", type=int, help="fold of that split (default 1)")
    parser.add_argument("--file", type=Path, help="Python file of a user-defined system; it is executed")


def run(arguments: argparse.Namespace) -> None:
    """Predict, and write one row per utterance and repeat."""
    import pandas as pd
    import torch

    from nmer.files import write_text
    from nmer.prediction.new_features import read_new_features
    from nmer.prediction.trained import load_trained

    check_output(arguments.out, "--out", *filter(None, (arguments.model, arguments.features, arguments.file)))
    torch.set_num_threads(1)  # as in the workflow, so that results do not depend on the machine
    first = load_trained(arguments.model, min(arguments.repeats or [1]), arguments.file)
    repeats = arguments.repeats or list(range(1, int(first.settings.get("repeats", 1)) + 1))
    if len(set(repeats)) < len(repeats):
        raise ConfigError("--repeats: a repeat is listed twice. List each once.")
    if arguments.fold is not None and arguments.split is None:
        raise ConfigError("--fold: applies only to a split. Name it: --split test.")
    modalities, fold = first.system.modalities, 1 if arguments.fold is None else arguments.fold
    features = read_new_features(arguments.features, modalities, arguments.split, fold)
    try:
        prepared = first.prepare(features.features, features.ids)
    except DataError as error:
        raise DataError(f"{arguments.features}: {error}") from None
    for modality, (values, utterances) in prepared.replaced.items():
        if values:
            print(
                f"warning: {arguments.features}: modality '{modality}': {values} values in {utterances} utterances are "
                "not finite. Counted as 0.",
                file=sys.stderr,
            )
    parts = []
    for repeat in repeats:
        trained = first if repeat == first.repeat else load_trained(arguments.model, repeat, arguments.file)
        predicted = trained.predict_prepared(prepared)
        part = pd.DataFrame({"utterance": features.ids, "repeat": repeat})
        if trained.classes:
            part["prediction"] = [trained.classes[number] for number in predicted.argmax(axis=1)]
            part[[f"prob_{name}" for name in trained.classes]] = predicted
        else:
            part["prediction"] = predicted
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    write_text(arguments.out, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    print(f"{len(features.ids)} utterances, {len(repeats)} repeats: {arguments.out}")
