"""Read and check a corpus, and store its features for all later steps.

Reads the corpus in the layout it is distributed in (SPEC section 5), replaces NaN and infinite values by 0, checks ids,
labels, dimensions and folds, and writes
  - the feature store: all utterances and their folds in one HDF5 file, with the variance of each modality, which
    calibrates the noise (SPEC 2.6), and next to it a file with its SHA-256;
  - a report in JSON: sizes, class counts, repairs and warnings, next to the figures of the paper's Table 1.

Example:
  python scripts/build_features.py --settings '{"dataset": "mosi", "layout": "mosei_pickle"}' \\
      --source data/cmu_mosi/mosi_senti_data.pkl --output features/mosi.h5 --report features/mosi.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from nmer import command, provenance
from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.registry import relative_name, source_files
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.corpora.validation import check, report, summary
from nmer.digests import check_digests, file_digest, write_digest
from nmer.errors import DataError
from nmer.files import write_json
from nmer.plan.sources import Unchanged
from nmer.plan.tested_classes import check_tested_classes


def main() -> None:
    """Parse the arguments, read, check, write."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="the dataset's settings as JSON: dataset, layout, dims, …")
    parser.add_argument(
        "--source", required=True, type=Path, help="the corpus, a folder or a file as its layout requires"
    )
    parser.add_argument("--output", required=True, type=Path, help="feature store to write (.h5)")
    parser.add_argument("--report", required=True, type=Path, help="report to write (.json)")
    arguments = parser.parse_args()
    settings = CorpusSettings.from_mapping(command.settings(arguments.settings))
    sources = source_files(
        settings.layout,
        arguments.source,
        settings.file,
        settings.modalities,
        f"datasets.{settings.dataset}.modalities",
        settings.options,
    )
    if settings.extracted:
        check_digests(arguments.source)
    elif settings.synthetic:
        check_digests(arguments.source if arguments.source.is_dir() else arguments.source.parent)
    unchanged = Unchanged(sources)
    digests = {relative_name(path, arguments.source): file_digest(path) for path in sources}
    if not settings.synthetic and not settings.extracted:
        provenance.note(sources=sorted(digests.values()))
    with read_corpus(arguments.source, settings) as corpus:
        check(corpus, settings, arguments.source)
        check_tested_classes(corpus, settings)
        warnings = write_store(corpus, settings, arguments.output, digests)
    try:
        unchanged.check()
    except DataError:
        arguments.output.unlink()
        raise
    with FeatureStore(arguments.output) as store:
        described = report(corpus, settings, store, warnings)
    write_json(arguments.report, described)
    write_digest(arguments.output)
    print(summary(described), file=sys.stderr)


if __name__ == "__main__":
    command.run(main)
