"""Generate a synthetic corpus in the layout of a real one, so that the workflow runs without licensed data.

Two layouts: ``iemocap_mmin`` (ten speakers in five sessions, four emotions, ten folds) and ``mosei_pickle`` (videos,
negative and positive sentiment, one fixed split). Text carries the emotion most clearly, then audio, then video. Scores
on this corpus say nothing about real speech. The same settings give the same files.

Writes a folder, and next to it a file with the SHA-256 of every file in the folder.

Example:
  python scripts/generate_corpus.py \\
      --settings '{"dataset": "demo_iemocap", "layout": "iemocap_mmin", "generate": {"utterances": 220}}' \\
      --output results/corpora/demo_iemocap
"""

from __future__ import annotations

from pathlib import Path

from nmer import command, digests, files
from nmer.corpora.demo import DemoSettings, write_demo


def main() -> None:
    """Parse the arguments, generate, write."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="settings as JSON: dataset, layout, generate {utterances, …}")
    parser.add_argument("--output", required=True, type=Path, help="folder to write (replaced if it exists)")
    arguments = parser.parse_args()
    settings = DemoSettings.from_mapping(command.settings(arguments.settings))
    with files.atomic_path(arguments.output) as folder:
        write_demo(folder, settings)
    digests.write_digest(arguments.output)


if __name__ == "__main__":
    command.run(main)
