"""Word vectors from a text file in the format of GloVe: a word and its numbers per line, separated by blanks."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError, DataError
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, Segment, UnusableError, extractor

WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
"""Words with inner apostrophes and hyphens, or single marks, as in GloVe's vocabularies."""


@extractor(
    "glove",
    modality="l",
    needs=("text",),
    licence="free",
    paths=("vectors",),
    required=("vectors",),
    minimum={"pad_to": 0},
)
def glove(segment: Segment, *, vectors: str = "", lowercase: bool = True, pad_to: int = 0) -> Extracted:
    """A row per word: its vector, or zeros for a word that the file lacks.

    vectors: the file. lowercase: look up small letters, as the vectors trained on Wikipedia need. pad_to: frames to cut
    or zero-pad to, 0 = none. Counts ``words`` and ``unknown_words``. Raises UnusableError for a text without words,
    DataError for a damaged file. Source: Pennington et al., GloVe, EMNLP 2014.
    """
    words = [word.lower() if lowercase else word for word in WORD.findall(segment.text.replace("’", "'"))]
    if not words:
        raise UnusableError("no_text", "the text holds no words")
    table = _table(Path(vectors))
    rows = [table.vector(word) for word in words]
    values = np.array([np.zeros(table.dim, np.float32) if row is None else row for row in rows], np.float32)
    unknown = sum(row is None for row in rows)
    return Extracted(padded(values, pad_to), {"words": len(words), "unknown_words": unknown})


class _Vectors:
    """Places of the words in a file of vectors; a vector is read when it is asked for, so that millions fit."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if there is no such file, DataError for a line of another width."""
        self._path = path
        self._places: dict[bytes, int] = {}
        self._read: dict[bytes, NDArray[np.float32]] = {}
        try:
            with path.open("rb") as stream:
                first = stream.readline()
                if not re.fullmatch(rb"\d+ \d+\s*", first):  # else the header of word2vec
                    stream.seek(0)
                self._index(stream)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise ConfigError(f"{path}: {reason}. Let the option 'vectors' name a text file of GloVe.") from None
        if not self._places:
            raise DataError(f"{path}: holds no vectors. Get the file again.")

    def _index(self, stream: BinaryIO) -> None:
        place, self.dim = stream.tell(), 0
        for number, line in enumerate(stream, 1):
            content = line.rstrip()
            if not self.dim:
                self.dim = _width(content)
            # Words may hold blanks ('. . .'), so a line is split from the right.
            blanks = content.count(b" ")
            if content and (blanks < self.dim or not self.dim):
                found = f"{blanks} numbers where {self.dim} are expected" if self.dim else "no word and numbers"
                raise DataError(f"{self._path}, line {number}: {found}. Get the file again.")
            if content:
                word = content.split(b" ", 1)[0] if blanks == self.dim else content.rsplit(b" ", self.dim)[0]
                self._places.setdefault(word, place)  # the first of a repeated word
            place += len(line)

    def vector(self, word: str) -> NDArray[np.float32] | None:
        """The vector (dim,) of a word, None if the file has none. Raises DataError if it is no finite numbers."""
        key = word.encode()
        if key not in self._places:
            return None
        if key not in self._read:
            with self._path.open("rb") as stream:
                stream.seek(self._places[key])
                numbers = stream.readline().rstrip().rsplit(b" ", self.dim)[1:]
            try:
                vector = np.array(numbers, np.float32)
            except ValueError:
                vector = np.full(self.dim, np.nan, np.float32)
            if not np.isfinite(vector).all():
                raise DataError(f"{self._path}: the vector of '{word}' is not {self.dim} finite numbers. Get it again.")
            self._read[key] = vector
        return self._read[key]


_table = cache(_Vectors)


def _width(line: bytes) -> int:
    """How many numbers end a line."""
    numbers = 0
    for part in reversed(line.split(b" ")[1:]):
        try:
            float(part)
        except ValueError:
            break
        numbers += 1
    return numbers
