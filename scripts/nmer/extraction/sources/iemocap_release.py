"""The original release of IEMOCAP: ``IEMOCAP_full_release`` with sessions, labels, transcripts, audio and video.

Utterances come from ``EmoEvaluation``, words from ``transcriptions``, audio from ``sentences/wav``, and pictures from
the half of the dialogue's video that shows the speaker. Source: Busso et al., IEMOCAP, Language Resources and
Evaluation 2008, and the release's README.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nmer.errors import DataError
from nmer.extraction.media_names import relative_name
from nmer.extraction.registry import Listing, Utterance, source
from nmer.utterance_table import read_listing

CLASSES = {
    "four": {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"},
    "six": {
        "ang": "angry",
        "hap": "happy",
        "exc": "excited",
        "sad": "sad",
        "neu": "neutral",
        "fru": "frustrated",
    },
    "all": {
        "ang": "angry",
        "hap": "happy",
        "exc": "excited",
        "sad": "sad",
        "neu": "neutral",
        "fru": "frustrated",
        "sur": "surprised",
        "fea": "fearful",
        "dis": "disgusted",
        "oth": "other",
    },
}
"""Class names by label of the release. Utterances without a majority label (``xxx``) have no class."""

NO_MAJORITY = "xxx"
PUBLISHED_DIALOGUES = 151
PUBLISHED_UTTERANCES = 10039
PUBLISHED_COUNTS = {
    "neu": 1708, "ang": 1103, "sad": 1084, "hap": 595, "exc": 1041, "fru": 1849, "xxx": 2507, "sur": 107, "fea": 40,
    "oth": 3, "dis": 2,
}  # fmt: skip
"""Number of utterances per label in the whole release."""

_HEAD = re.compile(r"\s*\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)\s+\[")
_LINE = re.compile(r"\s*(\S+)\s+\[\s*[\d.]+\s*-\s*[\d.]+\s*\]:(.*)")
_ID = re.compile(r"(Ses\d\d[FM]_.+)_([FM])\d{3}")
_UNLABELLED = re.compile(r".+_[FM]XX\d")
_EVENT = re.compile(r"\[[A-Z][A-Z _-]*\]")

EVALUATION = "dialog/EmoEvaluation"
CORRECTED = ("label", "speaker", "start", "end", "side", "text", "audio", "video")


@dataclass
class _Counts:
    """Counts and warnings collected while reading."""

    skipped: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


@source(
    "iemocap_release",
    folds=10,
    layout_options={"protocol": "given"},
)
def read(
    root: Path,
    *,
    classes: Literal["four", "six", "all"] = "four",
    side: Literal["marker_left", "marker_right", "female_left"] = "marker_left",
    events: Literal["keep", "drop"] = "keep",
    table: str = "",
) -> Listing:
    """List the utterances of the release in folder ``root``, which contains ``Session1`` to ``Session5``.

    classes: ``four`` counts excited as happy, ``six`` and ``all`` do not. side: which actor is in the left half of a
    video. events: keep or drop marks such as [LAUGHTER] in transcripts. table: a CSV below ``root`` with corrections,
    in the format of the list that extraction writes: only its ids are used, and its non-empty cells replace values.
    Counts that differ from the published ones give warnings. Raises DataError if ``root`` is not the release.
    """
    sessions = _sessions(root)
    counts = _Counts()
    labelled: dict[str, tuple[str, float, float, str]] = {}
    dialogues = 0
    words: dict[str, str] = {}
    for session in sessions:
        for path in _files(root / session / EVALUATION):
            dialogues += 1
            _read_labels(path, session, labelled, counts)
        for path in _files(root / session / "dialog/transcriptions"):
            _read_words(path, words, counts)
    if not labelled:
        raise DataError(
            f"{root / sessions[0] / EVALUATION}: contains no labels of utterances. Download the release again."
        )
    if unlabelled := words.keys() - labelled.keys():
        counts.skipped["in transcripts without a label"] += len(unlabelled)
    if wordless := labelled.keys() - words.keys():
        counts.warnings.append(f"{len(wordless)} utterances have no transcript, e.g. {min(wordless)}.")
    _compare_counts(sessions, dialogues, counts)
    names, chosen = CLASSES[classes], []
    for identifier, (label, start, end, session) in sorted(labelled.items()):
        if label not in names:
            reason = "without a majority label" if label == NO_MAJORITY else "of other classes"
            counts.skipped[reason] += 1
            continue
        text = words.get(identifier, "")
        chosen.append(
            Utterance(
                identifier,
                names[label],
                speaker=f"{int(session.removeprefix('Session'))}{identifier[-4]}",
                audio=f"{session}/sentences/wav/{_dialogue(identifier)}/{identifier}.wav",
                video=f"{session}/dialog/avi/DivX/{_dialogue(identifier)}.avi",
                start=start,
                end=end,
                text=text if events == "keep" else " ".join(_EVENT.sub(" ", text).split()),
                side=speaker_side(identifier, side),
                audio_is_cut=True,
            )
        )
    if table:
        chosen = _corrected(chosen, root, root / table)
    return Listing(chosen, ("speaker",), dict(counts.skipped), counts.warnings, speaker_folds=True)


def speaker_side(identifier: str, rule: str) -> str:
    """Return the half of the video that shows the speaker of an utterance.

    In an id, the letter after the session is the actor who wears the markers, the last letter the speaker. rule:
    ``marker_left`` (as in the code of MMIN's group), ``marker_right``, or ``female_left``.
    """
    speaker, wearer = identifier[-4], identifier[5]
    on_left = speaker == "F" if rule == "female_left" else (speaker == wearer) == (rule == "marker_left")
    return "left" if on_left else "right"


def _sessions(root: Path) -> list[str]:
    sessions = sorted(path.name for path in root.glob("Session[1-5]") if (path / EVALUATION).is_dir())
    if sessions:
        return sessions
    expected = f"it has no folders Session1 to Session5 with {EVALUATION}"
    hint = "Correct the path."
    for candidate in (root.parent, root.parent.parent, *sorted(path for path in root.glob("*") if path.is_dir())):
        if any((candidate / f"Session{number}" / EVALUATION).is_dir() for number in range(1, 6)):
            hint = f"They are in {candidate}; set the path to it."
            break
    raise DataError(f"{root}: is not the IEMOCAP release: {expected}. {hint}")


def _files(folder: Path) -> list[Path]:
    """Return the text files of a folder. Hidden files, such as copies named ``._Ses…``, are ignored."""
    return sorted(path for path in folder.glob("Ses*.txt") if path.is_file())


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _dialogue(identifier: str) -> str:
    return identifier.rpartition("_")[0]


def _read_labels(path: Path, session: str, labelled: dict[str, tuple[str, float, float, str]], counts: _Counts) -> None:
    for line in _text(path).splitlines():
        if not (head := _HEAD.match(line)):
            continue
        start, end, identifier, label = float(head[1]), float(head[2]), head[3], head[4].lower()
        if not _ID.fullmatch(identifier) or _dialogue(identifier) != path.stem:
            counts.skipped["with an id of another form or dialogue"] += 1
        elif identifier in labelled:
            counts.warnings.append(f"{path.name}: '{identifier}' has two labels; the first one is used.")
        elif label not in PUBLISHED_COUNTS:
            counts.skipped["with an unknown label"] += 1
            counts.warnings.append(f"{path.name}: '{identifier}' has the unknown label '{label}' and is skipped.")
        else:
            labelled[identifier] = (label, start, end, session)
            counts.labels[label] += 1


def _read_words(path: Path, words: dict[str, str], counts: _Counts) -> None:
    for line in _text(path).splitlines():
        if not line.strip():
            continue
        parts = _LINE.match(line)
        if not parts or not (_ID.fullmatch(parts[1]) or _UNLABELLED.fullmatch(parts[1])):
            counts.skipped["lines of transcripts without an id"] += 1
        elif _UNLABELLED.fullmatch(parts[1]):
            counts.skipped["in transcripts without a number (XX)"] += 1
        elif parts[1] in words:
            counts.warnings.append(f"{path.name}: '{parts[1]}' is transcribed twice; the first transcript is used.")
        else:
            words[parts[1]] = parts[2].strip()


def _compare_counts(sessions: list[str], dialogues: int, counts: _Counts) -> None:
    """Add warnings about differences from the published release."""
    if len(sessions) < 5:
        absent = sorted({f"Session{number}" for number in range(1, 6)} - set(sessions))
        counts.warnings.append(f"The release has five sessions; missing: {', '.join(absent)}.")
    total = counts.labels.total()
    for items, number, published in (
        ("dialogues", dialogues, PUBLISHED_DIALOGUES),
        ("labelled utterances", total, PUBLISHED_UTTERANCES),
    ):
        if number != published:
            counts.warnings.append(f"{number} {items}; the release has {published}.")
    differing = [
        f"{label} {counts.labels[label]} (published {count})"
        for label, count in PUBLISHED_COUNTS.items()
        if counts.labels[label] != count
    ]
    if differing:
        counts.warnings.append(f"Label counts differ from the published ones: {', '.join(differing)}.")


def _corrected(utterances: list[Utterance], root: Path, path: Path) -> list[Utterance]:
    """Return the utterances in a table of corrections, with its non-empty cells applied."""
    columns = read_listing(path, ("id",), CORRECTED)
    known = {utterance.id: utterance for utterance in utterances}
    kept = []
    for number, identifier in enumerate(columns["id"]):
        if identifier not in known:
            raise DataError(f"{path}: the release has no utterance '{identifier}' of these classes. Remove the row.")
        cells: dict[str, str] = {name: columns[name][number] for name in CORRECTED if columns.get(name)}
        changes: dict[str, object] = {name: cell for name, cell in cells.items() if cell}
        for name in ("audio", "video"):
            if name in changes:
                changes[name] = relative_name(cells[name], root, f"{path}, utterance '{identifier}'")
        for name in ("start", "end"):
            if name in changes:
                try:
                    changes[name] = float(cells[name])
                except ValueError:
                    raise DataError(
                        f"{path}: {name} '{cells[name]}' of '{identifier}' is not a number. Correct it."
                    ) from None
        kept.append(replace(known[identifier], **changes))  # type: ignore[arg-type]
    return kept
