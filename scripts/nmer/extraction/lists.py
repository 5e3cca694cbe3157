"""The list of a dataset's utterances, divided into chunks that are extracted as one job each.

A chunk holds whole recordings, so that a file is opened by one job. Which one follows from the recording's name, so a
new recording touches one chunk. Lists hold names, spans and digests of what is to be extracted, neither labels nor
texts.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from nmer.digests import file_digest, file_state
from nmer.errors import DataError
from nmer.extraction.registry import Listing, Utterance
from nmer.files import read_json, write_json, write_text

COLUMNS = ("id", "label", "speaker", "split", "fold", "audio", "video", "start", "end", "side", "chunk")
"""Columns of the table of all utterances that extraction writes."""


def chunk_of(utterance: Utterance, chunks: int) -> int:
    """The number of the chunk of an utterance, from 0."""
    return int.from_bytes(hashlib.sha256(utterance.recording.encode()).digest()[:8], "big") % chunks


def text_digest(text: str) -> str:
    """SHA-256 of a text, which tells a change of words without holding them."""
    return hashlib.sha256(text.encode()).hexdigest()


def media_names(utterances: Iterable[Utterance]) -> list[str]:
    """Every media file that utterances name, sorted, each once."""
    return sorted({name for each in utterances for name in (each.audio, each.video) if name})


def write_utterances(path: Path, listing: Listing, chunks: int) -> None:
    """Write the table of all utterances, which can be corrected and given back to the source.

    Columns that the source does not give are left out; so are texts, which stay with the corpus.
    """
    left_out = {"speaker", "split", "fold"} - set(listing.columns)
    columns = [name for name in COLUMNS if name not in left_out]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for utterance in listing.utterances:
        of_row = {**vars(utterance), "chunk": chunk_of(utterance, chunks)}
        values = (of_row[name] for name in columns)
        writer.writerow(["" if value is None else value for value in values])
    write_text(path, stream.getvalue())


class MediaMemory:
    """What is known of media files: their digests, and a token that stays the same while their content does.

    The plan compares tokens, so that it reads a file only if its size or times changed since it was read last. Kept in
    a hidden file beside the lists; where that is lost, files are read again.
    """

    def __init__(self, path: Path, root: Path) -> None:
        """path: the hidden file. root: the folder of the media."""
        self._path, self._root = path, root
        try:
            known = read_json(path) if path.exists() else {}
        except DataError:
            known = {}
        self._known: dict[str, dict[str, str]] = {key: value for key, value in known.items() if _is_entry(value)}
        self._changed = False

    def token(self, name: str) -> str:
        """What changes when the content of a file does; ``missing`` where there is no regular file."""
        state = self._state(name)
        if not state:
            return "missing"
        entry = self._known.get(name)
        if entry is None:
            return state
        if entry["state"] != state:
            digest = file_digest(self._root / name)
            self._known[name] = entry = {
                "state": state,
                "digest": digest,
                "token": entry["token"] if digest == entry["digest"] else state,
            }
            self._changed = True
        return entry["token"]

    def digest(self, name: str) -> str:
        """SHA-256 of a file, read only if it changed since; empty where there is no regular file."""
        state = self._state(name)
        if not state:
            return ""
        self.token(name)
        if name not in self._known:
            self._known[name] = {"state": state, "digest": file_digest(self._root / name), "token": state}
            self._changed = True
        return self._known[name]["digest"]

    def save(self) -> None:
        """Write what is new."""
        if self._changed:
            write_json(self._path, self._known)
            self._changed = False

    def _state(self, name: str) -> str:
        path = self._root / name
        try:
            # Hashed, for what lies in results/ shall not say where on whose disk it was made.
            return hashlib.sha256(file_state(path).encode()).hexdigest() if path.is_file() else ""
        except OSError:
            return ""


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("state", "digest", "token"))


def rows_digest(rows: Iterable[Sequence[object]]) -> str:
    """16 hexadecimal digits that change with any of the rows."""
    return hashlib.sha256(json.dumps([list(row) for row in rows]).encode()).hexdigest()[:16]
