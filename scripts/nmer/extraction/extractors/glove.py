"""Word vectors from a text file in GloVe's format: a word and its numbers per line, separated by spaces."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError, DataError
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, PadTo, Segment, UnusableError, extractor

WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
"""Words with inner apostrophes and hyphens, or single punctuation marks, as in GloVe's vocabularies."""


@extractor(
    "glove",
    modality="l",
    needs=("text",),
    licence="free",
    paths=("vectors",),
    get={"vectors": "vectors, e.g. glove.840B.300d.txt of nlp.stanford.edu/projects/glove"},
    required=("vectors",),
)
def glove(segment: Segment, *, vectors: str = "", lowercase: bool = True, pad_to: PadTo = 0) -> Extracted:
    """Return the vector of each word, or zeros for a word that is not in the file.

    vectors: the file. lowercase: convert words to lower case, as vectors trained on Wikipedia need. pad_to: number of
    frames to cut or zero-pad to, 0 = no change. Counts ``words`` and ``unknown_words``. Raises UnusableError for a text
    without words, DataError for a damaged file. Source: Pennington et al., GloVe, EMNLP 2014.
    """
    words = [word.lower() if lowercase else word for word in WORD.findall(segment.text.replace("’", "'"))]
    if not words:
        raise UnusableError("no_text", "the text contains no words")
    table = _table(Path(vectors))
    rows = [table.vector(word) for word in words]
    values = np.array([np.zeros(table.dim, np.float32) if row is None else row for row in rows], np.float32)
    unknown = sum(row is None for row in rows)
    return Extracted(padded(values, pad_to), {"words": len(words), "unknown_words": unknown})


class _Vectors:
    """Index of the words in a file of vectors. Vectors are read on demand, so files with millions of words fit."""

    def __init__(self, path: Path) -> None:
        """Index a file. Raises ConfigError if it does not exist, DataError if its lines differ in width."""
        self._path = path
        self._offsets: dict[bytes, int] = {}
        self._read: dict[bytes, NDArray[np.float32]] = {}
        try:
            with path.open("rb") as stream:
                first = stream.readline()
                if not re.fullmatch(rb"\d+ \d+\s*", first):  # otherwise a header of word2vec
                    stream.seek(0)
                self._index(stream)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise ConfigError(f"{path}: {reason}. Set the option 'vectors' to a text file in GloVe's format.") from None
        if not self._offsets:
            raise DataError(f"{path}: contains no vectors. Download it again.")

    def _index(self, stream: BinaryIO) -> None:
        offset, self.dim = stream.tell(), 0
        for number, line in enumerate(stream, 1):
            content = line.rstrip()
            if not self.dim:
                self.dim = _width(content)
            # Words may contain spaces ('. . .'), so split the line from the right.
            spaces = content.count(b" ")
            if content and (spaces < self.dim or not self.dim):
                found = f"{spaces} numbers, not {self.dim}" if self.dim else "no word and numbers"
                raise DataError(f"{self._path}, line {number}: {found}. Download the file again.")
            if content:
                word = content.split(b" ", 1)[0] if spaces == self.dim else content.rsplit(b" ", self.dim)[0]
                self._offsets.setdefault(word, offset)  # the first vector of a repeated word
            offset += len(line)

    def vector(self, word: str) -> NDArray[np.float32] | None:
        """Return the vector (dim,) of a word, or None. Raises DataError if its numbers are not finite."""
        key = word.encode()
        if key not in self._offsets:
            return None
        if key not in self._read:
            with self._path.open("rb") as stream:
                stream.seek(self._offsets[key])
                numbers = stream.readline().rstrip().rsplit(b" ", self.dim)[1:]
            try:
                vector = np.array(numbers, np.float32)
            except ValueError:
                vector = np.full(self.dim, np.nan, np.float32)
            if not np.isfinite(vector).all():
                raise DataError(
                    f"{self._path}: the vector of '{word}' is not {self.dim} finite numbers. Download it again."
                )
            self._read[key] = vector
        return self._read[key]


_table = cache(_Vectors)


def _width(line: bytes) -> int:
    """Return how many numbers end a line."""
    numbers = 0
    for part in reversed(line.split(b" ")[1:]):
        try:
            float(part)
        except ValueError:
            break
        numbers += 1
    return numbers
