"""Join the extracted features of all chunks and modalities into one corpus, and report the losses.

Writes one file of features per modality, and a corpus in the layout ragged_hdf5 with labels, speakers and folds. The
corpus contains the utterances that have features in every modality (or, with on_failure zeros, all utterances). Fails
if the share of utterances without features exceeds max_failed.

Example:
  python scripts/extract_join.py --settings '{"dataset": "clips", "modalities": ["a"], "max_failed": 0.1}' \\
      --utterances utterances.csv --summary list.json --chunks a/0.h5 a/1.h5 --joined a.h5 \\
      --output clips.h5 --report clips.json
"""

from __future__ import annotations

from pathlib import Path

from nmer import command
from nmer.corpora.layouts.iemocap_mmin import speaker_folds
from nmer.digests import check_digests, write_digest
from nmer.extraction import joining
from nmer.extraction.step_settings import JoinSettings
from nmer.files import read_json, write_json
from nmer.utterance_table import read_listing


def main() -> None:
    """Parse the arguments, join, count, write."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: dataset, modalities, on_failure, max_failed, …")
    parser.add_argument("--utterances", required=True, type=Path, help="table of all utterances")
    parser.add_argument("--summary", required=True, type=Path, help="counts of the list of utterances")
    parser.add_argument("--chunks", required=True, type=Path, nargs="+", help="chunks, grouped by modality")
    parser.add_argument("--joined", required=True, type=Path, nargs="+", help="file per modality to write, in order")
    parser.add_argument("--output", required=True, type=Path, help="corpus to write (.h5)")
    parser.add_argument("--report", required=True, type=Path, help="report of losses to write (.json)")
    arguments = parser.parse_args()
    settings = command.fill(JoinSettings, command.settings(arguments.settings))
    check_digests(arguments.utterances, arguments.summary, *arguments.chunks)
    columns = read_listing(arguments.utterances, ("id", "label"), ("speaker", "split", "fold"))
    ids, listed = columns["id"], read_json(arguments.summary)
    share = len(arguments.chunks) // len(settings.modalities)
    joined = {
        modality: joining.read_modality(arguments.chunks[number * share :][:share], ids, modality)
        for number, modality in enumerate(settings.modalities)
    }
    described = joining.summarise(joined)
    joining.check_failures(joined, ids, settings.max_failed, f"datasets.{settings.dataset}.raw.max_failed")
    complete = set(joining.usable_ids(joined, ids))
    kept = [row for row, name in enumerate(ids) if settings.on_failure == "zeros" or name in complete]
    notes, warnings = joining.notes_and_warnings(described)
    dropped = {**listed["skipped"], "without features of a modality": len(ids) - len(kept)}
    remarks = {
        "notes": notes,
        "warnings": [*listed["warnings"], *warnings],
        "dropped": {reason: count for reason, count in dropped.items() if count},
    }

    def folds(rows: list[int]) -> joining.Folds:
        return _consecutive_folds([columns["speaker"][row] for row in rows]) if settings.speaker_folds else {}

    for path, each in zip(arguments.joined, joined.values(), strict=True):
        joining.write_modality(path, each)
    joining.write_corpus(arguments.output, joined, columns, folds, kept, remarks)
    about = {"dataset": settings.dataset, "utterances": len(ids), "kept": len(kept), "skipped": listed["skipped"]}
    write_json(arguments.report, about | {"modalities": described, **remarks})
    write_digest(arguments.output)


def _consecutive_folds(speakers: list[str]) -> joining.Folds:
    """Return the folds of the speaker protocol, numbered without gaps if sessions are absent."""
    sessions = sorted({speaker[:-1] for speaker in speakers}, key=int)
    return speaker_folds([f"{sessions.index(speaker[:-1]) + 1}{speaker[-1]}" for speaker in speakers])


if __name__ == "__main__":
    command.run(main)
