"""Extract the features of one modality from the media of one chunk of utterances.

Every utterance gets features, or a state that gives the reason for their absence. The log names each utterance without
features; none stops the others. Finished utterances are cached, so an interrupted job resumes.

Example:
  python scripts/extract.py --settings '{"dataset": "clips", "modality": "a", "extractor": "prosody"}' \\
      --root data/clips --cache cache/a/0.h5 --output a/0.h5
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.digests import write_digest
from nmer.extraction.chunk import extract_items
from nmer.extraction.features_file import write_entries
from nmer.extraction.preparing import prepare
from nmer.extraction.step_settings import ExtractSettings
from nmer.progress import progress


def main() -> None:
    """Parse the arguments, extract, write the features and their digest."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, modality, extractor, chunk, source, …")
    parser.add_argument("--root", required=True, type=Path, help="folder of the media")
    parser.add_argument("--data", default=".", type=Path, help="folder that paths in options are relative to")
    parser.add_argument("--cache", required=True, type=Path, help="HDF5 cache of finished features; need not exist")
    parser.add_argument("--output", required=True, type=Path, help="HDF5 file of features to write")
    arguments = parser.parse_args()
    settings = command.fill(ExtractSettings, command.settings(arguments.settings))
    items = settings.utterances(arguments.root)
    work, metadata = prepare(settings, arguments.root, arguments.data, bool(items))
    with progress(f"features {settings.modality} of {settings.dataset}", len(items), unit=" utterances") as advance:
        entries = extract_items(items, work, arguments.cache, advance)
    write_entries(arguments.output, entries, metadata)
    write_digest(arguments.output)


if __name__ == "__main__":
    command.run(main)
