"""List the utterances of a dataset of raw media with their labels, files and spans, and count those left out.

Reads the dataset's table of clips or its release, and each media file once to compute its digest. Digests are
remembered, so later calls read only changed files. The list contains no words. It can be corrected and passed back to
the source.

Example:
  python scripts/extract_list.py --settings '{"dataset": "clips", "source": "table", "chunks": 2}' --root data/clips \\
      --memory media.json --utterances utterances.csv --summary list.json
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.extraction.lists import MediaDigests, media_names, write_utterances
from nmer.extraction.step_settings import SourceSettings, list_utterances
from nmer.files import write_json
from nmer.progress import progress


def main() -> None:
    """Parse the arguments, list, digest, write."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, source, chunks, file, options")
    parser.add_argument("--root", required=True, type=Path, help="folder of the media")
    parser.add_argument("--memory", required=True, type=Path, help="JSON that remembers digests of media")
    parser.add_argument("--utterances", required=True, type=Path, help="table of all utterances to write")
    parser.add_argument("--summary", required=True, type=Path, help="JSON of counts to write")
    arguments = parser.parse_args()
    settings = command.fill(SourceSettings, command.settings(arguments.settings))
    listing = list_utterances(settings, arguments.root)
    memory = MediaDigests(arguments.memory, arguments.root)
    names = media_names(listing.utterances)
    with progress(f"digests of {settings.dataset}", len(names), unit=" files") as advance:
        for name in names:
            memory.digest(name)
            advance(1)
    memory.save()
    write_utterances(arguments.utterances, listing, settings.chunks)
    counts = {
        "dataset": settings.dataset,
        "utterances": len(listing.utterances),
        "files": len(names),
        "missing_files": [name for name in names if not memory.digest(name)],
        "skipped": listing.skipped,
        "warnings": listing.warnings,
    }
    write_json(arguments.summary, counts)


if __name__ == "__main__":
    command.run(main)
