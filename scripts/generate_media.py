"""Generate short films of a talking face in three classes, with a table and word vectors, to test extraction.

Voices are synthesised by espeak-ng if it is installed, otherwise by a formant synthesiser in NumPy. The face is a
public-domain portrait that moves slowly. The same settings give the same files on one machine. Scores on them say
nothing about real speech.

Writes a folder, and next to it a file with the SHA-256 of every file in the folder.

Example:
  python scripts/generate_media.py --settings '{"dataset": "demo_media", "generate": {"utterances": 90}}' \\
      --output results/media/demo_media
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.digests import write_digest
from nmer.extraction.films import write_media
from nmer.extraction.generated import MediaSettings
from nmer.files import atomic_path
from nmer.progress import progress


def main() -> None:
    """Parse the arguments, generate, write."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="settings as JSON: dataset, generate {utterances, voice, …}")
    parser.add_argument("--output", required=True, type=Path, help="folder to write (replaced if it exists)")
    arguments = parser.parse_args()
    section = command.settings(arguments.settings)
    settings = MediaSettings.from_mapping(section["dataset"], section.get("generate", {}))
    with (
        atomic_path(arguments.output) as folder,
        progress(f"films of {settings.dataset}", settings.utterances, unit=" films") as advance,
    ):
        write_media(folder, settings, advance)
    write_digest(arguments.output)


if __name__ == "__main__":
    command.run(main)
