"""The list of a dataset's utterances, divided into chunks. Each chunk is one extraction job.

A chunk contains whole recordings, so only one job opens a file. The name of a recording determines its chunk, so a new
recording changes one chunk. The list contains no texts, which stay in the corpus.
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
"""Columns of the table of utterances."""


def chunk_number(utterance: Utterance, chunks: int) -> int:
    """Return the number of the chunk of an utterance, from 0."""
    return int.from_bytes(hashlib.sha256(utterance.recording.encode()).digest()[:8], "big") % chunks


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text. It shows a change without storing the words."""
    return hashlib.sha256(text.encode()).hexdigest()


def media_names(utterances: Iterable[Utterance]) -> list[str]:
    """Return the names of all media files of utterances, sorted and unique."""
    return sorted({name for each in utterances for name in (each.audio, each.video) if name})


def write_utterances(path: Path, listing: Listing, chunks: int) -> None:
    """Write the table of utterances, which users can correct and pass back to the source.

    Columns that the source does not provide are omitted, and so are texts.
    """
    omitted = {"speaker", "split", "fold"} - set(listing.columns)
    columns = [name for name in COLUMNS if name not in omitted]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for utterance in listing.utterances:
        row = {**vars(utterance), "chunk": chunk_number(utterance, chunks)}
        values = (row[name] for name in columns)
        writer.writerow(["" if value is None else value for value in values])
    write_text(path, stream.getvalue())


class MediaDigests:
    """Remembered digests of media files, and tokens that change only with their content.

    The plan compares tokens, so it reads a file only if its size or times have changed. Stored in a hidden file next to
    the lists; if that file is lost, media files are read again.
    """

    def __init__(self, path: Path, root: Path) -> None:
        """Read remembered digests. path: the hidden file. root: the folder of the media."""
        self._path, self._root = path, root
        try:
            known = read_json(path) if path.exists() else {}
        except DataError:
            known = {}
        self._known: dict[str, dict[str, str]] = {key: value for key, value in known.items() if _is_entry(value)}
        self._changed = False

    def token(self, name: str) -> str:
        """Return a token that changes with the content of a file; ``missing`` if it is not a regular file."""
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
        """Return the SHA-256 of a file, or "" if it is not a regular file. Unchanged files are not read again."""
        state = self._state(name)
        if not state:
            return ""
        self.token(name)
        if name not in self._known:
            self._known[name] = {"state": state, "digest": file_digest(self._root / name), "token": state}
            self._changed = True
        return self._known[name]["digest"]

    def save(self) -> None:
        """Write the digests if any has changed."""
        if self._changed:
            write_json(self._path, self._known)
            self._changed = False

    def _state(self, name: str) -> str:
        path = self._root / name
        try:
            # Hashed: results/ must not reveal paths of the machine.
            return hashlib.sha256(file_state(path).encode()).hexdigest() if path.is_file() else ""
        except OSError:
            return ""


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("state", "digest", "token"))


def rows_digest(rows: Iterable[Sequence[object]]) -> str:
    """Return a digest of rows, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps([list(row) for row in rows]).encode()).hexdigest()[:16]
