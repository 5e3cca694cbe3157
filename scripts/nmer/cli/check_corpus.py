"""``nmer check-corpus``: read and check a corpus as the workflow does."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

EXAMPLES = {
    "check-corpus": """Examples:
  nmer check-corpus my_corpus --layout npy_folder
  nmer check-corpus features.h5 --layout ragged_hdf5 --settings '{"options": {"protocol": "stratified"}, "folds": 5}'"""
}


def add_arguments(parser: argparse.ArgumentParser, _name: str) -> None:
    """Source, layout, settings."""
    parser.add_argument("source", type=Path, help="the corpus, a folder or a file as its layout requires")
    parser.add_argument("--layout", required=True, help="layout of the corpus (docs/data.md)")
    parser.add_argument("--dataset", default="own", help="its name (default own)")
    parser.add_argument("--settings", default="{}", help="JSON: other keys of the dataset in the configuration")


def run(arguments: argparse.Namespace) -> None:
    """Print a summary of the corpus. Raises an error for the first fault."""
    from nmer import command
    from nmer.corpora.corpus import CorpusSettings, read_corpus
    from nmer.corpora.registry import source_files
    from nmer.corpora.store import FeatureStore
    from nmer.corpora.store_writer import write_store
    from nmer.corpora.validation import check, report, summary
    from nmer.plan.tested_classes import check_tested_classes

    named = {"dataset": arguments.dataset, "layout": arguments.layout}
    settings = CorpusSettings.from_mapping(command.settings(arguments.settings) | named)
    key = f"datasets.{settings.dataset}.modalities"
    source_files(settings.layout, arguments.source, settings.file, settings.modalities, key, settings.options)
    with tempfile.TemporaryDirectory() as folder, read_corpus(arguments.source, settings) as corpus:
        check(corpus, settings, arguments.source)
        check_tested_classes(corpus, settings)
        path = Path(folder) / "features.h5"
        warnings = write_store(corpus, settings, path)
        with FeatureStore(path) as store:
            print(summary(report(corpus, settings, store, warnings)))
