"""Word vectors from a file in GloVe's format."""

from __future__ import annotations

import numpy as np
import pytest

from nmer.errors import ConfigError, DataError
from nmer.extraction.registry import Segment, UnusableError, extractors

glove = extractors.load("glove")


def extract(path, text, **options):
    return glove(Segment("u", text=text), vectors=str(path), **options)


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.txt"
    # A token with spaces, a repeated one, and one that is not UTF-8, as in the published files.
    path.write_bytes(b"hello 1 2\nworld 3 4\n. . . 5 6\nhello 9 9\n\xff\xfe 7 8\n, 0.5 -1e-1\n")
    return path


def test_every_word_has_its_vector_and_an_unknown_one_zeros(vectors):
    values, counts = extract(vectors, "Hello, new world")
    np.testing.assert_array_equal(values, np.array([[1, 2], [0.5, -0.1], [0, 0], [3, 4]], np.float32))
    assert counts == {"words": 4, "unknown_words": 1}


def test_a_header_of_word2vec_is_skipped(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("2 3\na 1 2 3\nb 4 5 6\n")
    assert extract(path, "b").values.tolist() == [[4, 5, 6]]


def test_case_can_be_kept(vectors):
    assert extract(vectors, "Hello", lowercase=False).counts["unknown_words"] == 1


def test_words_are_cut_or_padded_to_a_length(vectors):
    assert extract(vectors, "hello world", pad_to=3).values.tolist() == [[1, 2], [3, 4], [0, 0]]
    assert extract(vectors, "hello world", pad_to=1).values.tolist() == [[1, 2]]


@pytest.mark.parametrize("text", ["", "   "])
def test_a_text_without_words_is_unusable(vectors, text):
    with pytest.raises(UnusableError) as raised:
        extract(vectors, text)
    assert raised.value.state == "no_text"


@pytest.mark.parametrize(
    ("content", "text", "message"),
    [
        ("a 1 2\nb 3\n", "a", r"line 2: 1 numbers, not 2"),
        ("a 1 2\nb nan 3\n", "b", "vector of 'b' is not 2 finite numbers"),
        ("", "a", "contains no vectors"),
        ("words only\n", "a", "line 1: no word and numbers"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, text, message):
    path = tmp_path / "v.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        extract(path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.txt: No such file"):
        extract(tmp_path / "none.txt", "a")
