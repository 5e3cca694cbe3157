"""Layout ``csd``: alignment and segmentation equal plain loops, and every invalid input ends in one message."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest

from nmer.corpora.alignment import average, overlapping
from nmer.corpora.corpus import Corpus, CorpusSettings, read_corpus
from nmer.corpora.layouts import csd, mosei_pickle
from nmer.corpora.store import FeatureStore
from nmer.errors import ConfigError, DataError

FILES = {
    "l": "CMU_X_TimestampedWordVectors.csd",
    "a": "CMU_X_COVAREP.csd",
    "v": "CMU_X_VisualFacet42.csd",
    "labels": "CMU_X_Labels.csd",
}
ROOTS = {"l": "glove_vectors", "a": "COVAREP", "v": "FACET 4.2", "labels": "All Labels"}
DIMS = {"a": 4, "v": 3, "l": 5}
LISTS = {"train": ["zeta", "a-1", "b_2", "A0", "mute"], "valid": ["c3", "c1", "ghost"], "test": ["d2", "d10"]}
LISTED = [video for listed in LISTS.values() for video in listed]

Stream = dict[str, tuple[np.ndarray, np.ndarray]]


# The corpus of these tests


def tile(random: np.random.Generator, count: int, step: float, gap: float) -> np.ndarray:
    """Return ``count`` consecutive intervals of uneven length, some after a gap."""
    lengths = random.uniform(0.3, 1.7, count) * step
    starts = np.cumsum(lengths + gap * (random.random(count) < 0.3)) - lengths
    return np.stack([starts, starts + lengths], axis=1)


def contents() -> dict[str, Stream]:
    """Return four streams with the properties of real ones: defects, gaps, disorder, missing videos."""
    random = np.random.default_rng(7)
    streams: dict[str, Stream] = {name: {} for name in FILES}
    for video in (*LISTED, "unlisted"):
        words = tile(random, 40, 0.3, 0.5)
        words[7, 1] = words[7, 0]
        seconds = words[-1, 1]
        for name, step in (("a", 0.05), ("v", 0.12)):
            frames = tile(random, int(0.9 * seconds / step), step, 0.8)
            streams[name][video] = random.standard_normal((len(frames), DIMS[name])).astype(np.float32), frames
        text = random.standard_normal((len(words), DIMS["l"])).astype(np.float32)
        text[random.random(len(words)) < 0.2] = 0
        streams["l"][video] = text, words
        begins = np.linspace(0, seconds - 3, 7)
        labels = np.stack([begins, begins + random.uniform(1, 3, 7)], axis=1)
        streams["labels"][video] = random.uniform(-3, 3, (7, 7)), labels
    damage(streams, random)
    return streams


def damage(streams: dict[str, Stream], random: np.random.Generator) -> None:
    for video in ("zeta", "c1"):
        features, frames = streams["a"][video]
        features[random.random(features.shape) < 0.02] = -np.inf
        features[::50, 1], features[::60, 2] = np.inf, np.nan
        order = random.permutation(len(frames))
        streams["a"][video] = features[order], frames[order]
    features, words = streams["l"]["a-1"]
    features[5:9, 2] = np.nan
    order = random.permutation(len(words))
    streams["l"]["a-1"] = features[order], words[order]
    streams["l"]["d2"][0][:] = np.where(streams["l"]["d2"][1][:, :1] < 4, 0, streams["l"]["d2"][0])
    streams["labels"]["d2"][1][0] = 0.1, 2.0
    streams["labels"]["zeta"][1][3] = 900.0, 905.0
    streams["labels"]["A0"][0][:2, 0] = 0.0, -3.0
    del streams["a"]["b_2"], streams["v"]["c3"], streams["v"]["d10"], streams["l"]["mute"], streams["labels"]["ghost"]
    intervals = streams["labels"]["c1"][1]
    intervals[3, 1] = intervals[3, 0]
    intervals[5, 1] = intervals[5, 0] + 8e-6


def write_stream(path: Path, root: str, stream: Stream) -> None:
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in stream.items():
            file[f"{root}/data/{video}/features"] = features
            file[f"{root}/data/{video}/intervals"] = intervals
        file[f"{root}/metadata/root name"] = '"whatever"'


def write(folder: Path, streams: dict[str, Stream], lists: dict[str, Iterable[str]]) -> Path:
    (folder / "folds").mkdir(parents=True)
    for name, stream in streams.items():
        write_stream(folder / FILES[name], ROOTS[name], stream)
    for name, videos in lists.items():
        (folder / f"folds/{name}.txt").write_text("\n".join(videos) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def streams() -> dict[str, Stream]:
    return contents()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, streams) -> Path:
    """The corpus, read-only."""
    return write(tmp_path_factory.mktemp("csd") / "corpus", streams, LISTS)


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy of the corpus, to be modified."""
    return Path(shutil.copytree(whole, tmp_path / "corpus"))


def read(source: Path, **options: object) -> Corpus:
    return read_corpus(source, CorpusSettings.from_mapping({"dataset": "tiny", "layout": "csd", "options": options}))


# Reference implementation with plain loops


def naive_overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two intervals share more than 10 microseconds, or an interval contains a point.

    An interval contains its start but not its end, up to rounding.
    """
    touch = 1e-5
    (start, end), (other_start, other_end) = first.tolist(), second.tolist()
    if start == end and other_start == other_end:
        return abs(start - other_start) < touch
    if start == end:
        return other_start - touch < start < other_end - touch
    if other_start == other_end:
        return start - touch < other_start < end - touch
    return min(end, other_end) - max(start, other_start) > touch


def naive_average(features: np.ndarray, frames: np.ndarray, words: np.ndarray) -> np.ndarray:
    rows = []
    for word in words:
        total, count = np.zeros(features.shape[1]), 0
        for frame, values in zip(frames, features, strict=True):
            if naive_overlap(frame, word):
                with np.errstate(invalid="ignore"):
                    total = total + values.astype(float)
                count += 1
        rows.append(total / max(count, 1))
    return np.array(rows)


def naive_corpus(streams: dict[str, Stream], steps: int) -> tuple[list[tuple], Counter]:
    """Return (split, id, video, label, modality -> (steps, dim)) of every utterance, and the dropped ones.

    Texts are cut and padded on the left as in MultiBench, then cleaned according to SPEC 5.2.
    """
    found, dropped = [], Counter()
    dropped["video in no fold list"] = len(streams["labels"]["unlisted"][0])
    for split, listed in LISTS.items():
        for video in sorted(listed):
            values, intervals = streams["labels"].get(video, (np.zeros((0, 7)), np.zeros((0, 2))))
            if any(video not in streams[m] for m in "avl"):
                dropped["video missing in words, audio or vision"] += len(values)
                continue
            text, words = streams["l"][video]
            rows_of = {m: naive_average(*streams[m][video], words) for m in "av" if video in streams[m]}
            rows_of["l"] = text
            for row, interval in enumerate(intervals):
                if interval[1] - interval[0] < 1e-5:
                    dropped["label shorter than 10 microseconds"] += 1
                    continue
                held = [word for word in range(len(words)) if naive_overlap(words[word], interval)]
                held.sort(key=lambda word: (*words[word], word))
                if not held:
                    dropped["no word within the label's interval"] += 1
                    continue
                held = held[-steps:]
                arrays = {m: np.zeros((steps, DIMS[m])) for m in "avl"}
                for position, word in enumerate(held, start=steps - len(held)):
                    for m, rows in rows_of.items():
                        arrays[m][position] = rows[word]
                cleaned = np.nan_to_num(arrays["l"], nan=0, posinf=0, neginf=0)
                if cleaned.sum() == 0:
                    dropped["text sums to 0"] += 1
                    continue
                start = next(step for step in range(steps) if cleaned[step].any())
                for m, array in arrays.items():
                    arrays[m] = np.vstack([array[start:], np.zeros((start, DIMS[m]))])
                found.append((split, f"{video}[{row}]", video, int(values[row, 0] >= 0), arrays))
    return found, dropped


@pytest.mark.parametrize("steps", [1, 6, 50])
def test_the_corpus_equals_plain_loops(streams, whole, steps):
    expected, dropped = naive_corpus(streams, steps)
    with read(whole, steps=steps) as corpus:
        assert corpus.ids == [identifier for _split, identifier, *_rest in expected]
        assert corpus.speakers == [video for _split, _identifier, video, *_rest in expected]
        assert corpus.labels.tolist() == [label for *_start, label, _arrays in expected]
        assert corpus.dims == DIMS
        assert corpus.dropped == dropped
        assert min(dropped.values()) > 0
        assert len(dropped) == 5
        for m in "avl":
            assert corpus.lengths[m].tolist() == [steps] * len(expected)
            for index, (*_start, arrays) in enumerate(expected):
                np.testing.assert_allclose(corpus.features(m, index), arrays[m], rtol=1e-12, atol=1e-13)
        for split, stored in (("train", "train"), ("val", "valid"), ("test", "test")):
            of_split = [i for i, utterance in enumerate(expected) if utterance[0] == stored]
            assert corpus.folds[1][split].tolist() == of_split
            assert len(of_split) > 2


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, False), (5e-6, False), (9.9e-6, False), (1.1e-5, True)])
def test_a_label_without_duration_is_dropped(streams, tmp_path, seconds, kept):
    """As in the SDK: ``abs(ref_time[0]-ref_time[1])<epsilon``, epsilon 10e-6."""
    changed = {name: dict(stream) for name, stream in streams.items()}
    words = changed["l"]["A0"][1]
    values, intervals = changed["labels"]["A0"]
    starts = words[: len(intervals), :].mean(axis=1)
    changed["labels"]["A0"] = values, np.stack([starts, starts + seconds], axis=1)
    rows = len(intervals)
    with read(write(tmp_path / "corpus", changed, LISTS)) as corpus:
        found = [name for name in corpus.ids if name.startswith("A0[")]
        assert bool(found) == kept
        assert corpus.dropped.get("label shorter than 10 microseconds", 0) >= (0 if kept else rows)


def test_a_video_in_no_list_is_not_validated(folder):
    with h5py.File(folder / FILES["labels"], "r+") as file:
        data = file[f"{ROOTS['labels']}/data"]
        del data["unlisted/features"]
        data["unlisted/features"] = "text"
    with read(folder) as corpus:
        assert corpus.dropped["video in no fold list"] == 1


def test_the_default_keeps_the_last_fifty_words(streams, tmp_path):
    counted = np.arange(1.0, 71.0)
    words = np.stack([counted, counted + 1], axis=1)
    longer = {name: dict(stream) for name, stream in streams.items()}
    longer["l"]["d2"] = np.repeat(counted[:, None], 5, axis=1), words
    longer["labels"]["d2"] = np.full((2, 1), 2.0), np.array([[0.0, 100.0], [60.0, 100.0]])
    with read(write(tmp_path / "longer", longer, LISTS)) as corpus:
        text = [corpus.features("l", corpus.ids.index(f"d2[{row}]"))[:, 0] for row in range(2)]
        assert text[0].tolist() == list(range(21, 71))
        assert text[1].tolist() == [*range(60, 71), *[0] * 39]
        assert "at most the last 50 (1 utterances have more)" in corpus.notes[1]


def test_text_that_is_broken_or_sums_to_zero_is_dropped(streams, tmp_path):
    words = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    text = np.array([[np.nan, 0.0], [1.0, -np.inf], [1.0, -3.0]])
    faulty = {name: dict(stream) for name, stream in streams.items()}
    faulty["l"] = {video: (np.resize(array, (len(array), 2)), times) for video, (array, times) in faulty["l"].items()}
    faulty["l"]["d2"] = text, words
    faulty["labels"]["d2"] = np.ones((3, 1)), np.array([[0.0, 1.0], [1.0, 3.0], [0.0, 2.0]])
    with read(write(tmp_path / "faulty", faulty, LISTS), steps=3) as corpus:
        named = [identifier for identifier in corpus.ids if identifier.startswith("d2[")]
        assert named == ["d2[1]", "d2[2]"]
        assert corpus.features("l", corpus.ids.index("d2[2]")).tolist() == [[1, -np.inf], [0, 0], [0, 0]]
    faulty["l"]["d2"] = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -3.0]]), words
    faulty["labels"]["d2"] = np.ones((2, 1)), np.array([[0.0, 3.0], [0.0, 2.0]])
    with read(write(tmp_path / "cancelling", faulty, LISTS), steps=3) as corpus:
        assert "d2[0]" not in corpus.ids
        assert "d2[1]" in corpus.ids


# Alignment


def random_intervals(random: np.random.Generator, count: int) -> np.ndarray:
    """Return intervals on a grid of hundredths, with nested ones, ones that touch up to rounding, and points."""
    start = random.integers(0, 60, count)
    end = start + random.integers(0, 12, count) * (random.random(count) < 0.85)
    summed = np.concatenate([[0.0], np.cumsum(np.full(80, 0.01))])
    first, second = (np.where(random.random(count) < 0.5, time / 100, summed[time]) for time in (start, end))
    return np.stack([first, np.where(end == start, first, second)], axis=1)


@pytest.mark.parametrize("seed", range(20))
def test_overlaps_and_averages_equal_a_double_loop(seed):
    random = np.random.default_rng(seed)
    frames, words = random_intervals(random, 60), random_intervals(random, 25)
    features = random.standard_normal((60, 3)).astype(np.float32)
    features[random.random(features.shape) < 0.02] = -np.inf
    features[random.random(features.shape) < 0.01] = np.nan
    np.testing.assert_allclose(
        average(features, frames, words), naive_average(features, frames, words), rtol=1e-12, atol=1e-13
    )
    for word, rows in zip(words, overlapping(words, frames), strict=True):
        expected = [row for row in range(60) if naive_overlap(word, frames[row])]
        assert sorted(rows.tolist()) == expected
        np.testing.assert_array_equal(rows, rows[np.lexsort((rows, *frames[rows].T[::-1]))])


def test_an_infinite_frame_affects_its_word_only():
    frames = np.stack([np.arange(100), np.arange(1, 101)], axis=1) / 10
    words = np.stack([np.arange(10), np.arange(1, 11)], axis=1).astype(float)
    features = np.random.default_rng(0).standard_normal((100, 2))
    clean = average(features, frames, words)
    features[25, 0], features[44, 1], features[47, 1] = -np.inf, np.inf, -np.inf
    means = average(features, frames, words)
    assert np.argwhere(~np.isfinite(means)).tolist() == [[2, 0], [4, 1]]
    assert means[2, 0] == -np.inf
    finite = np.isfinite(means)
    np.testing.assert_array_equal(means[finite], clean[finite])


def test_small_values_are_averaged_exactly_next_to_large_ones():
    frames = np.stack([np.arange(6), np.arange(1, 7)], axis=1).astype(float)
    features = np.array([[1e30], [1e30], [1e-3], [2e-3], [5e-3], [5e-3]], np.float32)
    means = average(features, frames, np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]]))
    np.testing.assert_allclose(means[:, 0], [1e30, 1.5e-3, 5e-3], rtol=1e-6)


def test_a_point_belongs_to_the_interval_that_starts_with_it():
    frames = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [1.0, 1.0]])
    held = overlapping(np.array([[1.0, 1.0], [1.5, 1.5], [3.0, 3.0]]), frames)
    assert [rows.tolist() for rows in held] == [[3, 1], [1], []]
    assert [rows.tolist() for rows in overlapping(np.array([[0.0, 1.0], [1.0, 1.5]]), frames)] == [[0], [3, 1]]


def test_intervals_that_touch_do_not_overlap_despite_rounding():
    before, word = np.array([[0.0, 0.1 + 0.2]]), np.array([[0.3, 0.5]])
    assert before[0, 1] > word[0, 0]
    assert len(overlapping(word, before)[0]) == 0
    assert len(overlapping(word, before + 1e-4)[0]) == 1


def test_no_intervals_have_no_overlaps():
    nothing, one = np.zeros((0, 2)), np.array([[0.0, 1.0]])
    assert overlapping(nothing, one) == []
    assert len(overlapping(one, nothing)[0]) == 0
    np.testing.assert_array_equal(average(np.zeros((0, 3), np.float32), nothing, one), np.zeros((1, 3)))


def test_the_example_of_the_documentation(tmp_path):
    words = np.array([[0.0, 0.3], [0.3, 0.5], [0.7, 0.9]])
    example = {
        "l": (np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 2.0]]), words),
        "a": (np.array([[1.0], [3.0], [8.0]]), np.array([[0.0, 0.2], [0.2, 0.4], [0.4, 0.6]])),
        "labels": (np.array([[1.5, 0.0]]), np.array([[0.0, 1.0]])),
    }
    example["v"] = example["a"]
    videos = ("one", "two", "three")
    lists = dict(zip(LISTS, ([video] for video in videos), strict=True))
    streams = {name: dict.fromkeys(videos, arrays) for name, arrays in example.items()}
    with read(write(tmp_path / "example", streams, lists), steps=4) as corpus:
        assert corpus.ids == ["one[0]", "two[0]", "three[0]"]
        assert corpus.features("l", 0).tolist() == [[4, 1], [2, 2], [0, 0], [0, 0]]
        assert corpus.features("a", 0).tolist() == [[5.5], [0], [0], [0]]


# Reading


def test_features_are_read_once_per_video(whole, monkeypatch):
    names = []
    original = csd.read_array

    def recording(stored, path):
        names.append((path.name, stored.name.split("/")[3], stored.name.split("/")[4]))
        return original(stored, path)

    monkeypatch.setattr(csd, "read_array", recording)
    with read(whole) as corpus:
        assert {file for file, _video, _array in names} == {FILES["l"], FILES["labels"]}
        assert "unlisted" not in {video for _file, video, _array in names}
        for m in "av":
            names.clear()
            for index in range(len(corpus.ids)):
                corpus.features(m, index)
            read_features = Counter(video for file, video, array in names if array == "features")
            assert read_features == dict.fromkeys(set(corpus.speakers), 1)
        assert corpus.features("l", 0).any()
    with pytest.raises(DataError):
        corpus.features("a", 0)


def test_notes_name_the_files_and_warnings_name_missing_ones(whole):
    with read(whole) as corpus:
        for name, file in FILES.items():
            assert f"{file} ({ROOTS[name]})" in corpus.notes[0]
        assert corpus.files == {m: str(whole / FILES[m]) for m in "avl"}
        assert corpus.warnings == [f"1 of 10 listed videos have no labels in {FILES['labels']}."]


def test_lists_can_contain_comments_blank_lines_and_a_byte_order_mark(whole, folder):
    marked = "\ufeff# the SDK's\r\n\r\n zeta \r\na-1\r\nb_2\r\nA0\r\nmute\r\nmute\r\n"
    (folder / "folds/train.txt").write_bytes(marked.encode("utf-8"))
    assert csd.read_lists(folder) == csd.read_lists(whole)


def test_reasons_have_the_same_wording_as_for_the_pickle():
    assert csd.EMPTY_TEXT == mosei_pickle.EMPTY_TEXT


def test_the_store_contains_the_repaired_corpus_and_the_report_counts_repairs(streams, whole, step):
    expected, dropped = naive_corpus(streams, 6)
    described = step.build(whole, "csd", dims=DIMS, options={"steps": 6})
    assert described["dropped"] == dropped
    assert described["utterances"] == len(expected)
    assert sorted(described["sources"]) == sorted([*FILES.values(), *(f"folds/{name}.txt" for name in LISTS)])
    kinds = {"nan": np.isnan, "+inf": np.isposinf, "-inf": np.isneginf}
    for m in "avl":
        raw = np.vstack([arrays[m] for *_start, arrays in expected])
        assert described["repairs"][m] == {kind: int(is_kind(raw).sum()) for kind, is_kind in kinds.items()}
        with FeatureStore(step.output) as store:
            np.testing.assert_allclose(store.values(m)[()], np.where(np.isfinite(raw), raw, 0), rtol=1e-6, atol=1e-7)
    assert all(described["repairs"]["a"].values())
    assert described["repairs"]["l"]["nan"] > 0
    assert any("no labels" in warning for warning in described["warnings"])


# Bad inputs


def edit(name: str, change: Callable[[h5py.Group], None]) -> Callable[[Path], None]:
    """Return a change of one file, given the group of its videos."""

    def changed(folder: Path) -> None:
        with h5py.File(folder / FILES[name], "r+") as file:
            change(file[f"{ROOTS[name]}/data"])

    return changed


def replace(name: str, video: str, array: str, change: Callable[[np.ndarray], object]) -> Callable[[Path], None]:
    def replaced(data: h5py.Group) -> None:
        values = data[f"{video}/{array}"][()]
        del data[f"{video}/{array}"]
        data[f"{video}/{array}"] = change(values)

    return edit(name, replaced)


def set_cell(row: int, column: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def changed(values: np.ndarray) -> np.ndarray:
        values[row, column] = value
        return values

    return changed


def relink(link: object) -> Callable[[h5py.Group], None]:
    def relinked(data: h5py.Group) -> None:
        del data["zeta"]
        data["zeta"] = link

    return relinked


def declare_huge(data: h5py.Group) -> None:
    del data["zeta/features"], data["zeta/intervals"]
    data.create_dataset("zeta/features", (10**10, 4), np.float32, chunks=(1000, 4))
    data.create_dataset("zeta/intervals", (10**10, 2), np.float64, chunks=(1000, 2))


def truncate(folder: Path) -> None:
    path = folder / FILES["a"]
    path.write_bytes(path.read_bytes()[:-3000])


def copy_facet(folder: Path) -> None:
    shutil.copy(folder / FILES["v"], folder / "CMU_X_VisualFacet41.csd")


def lists(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / f"folds/{name}.txt").write_bytes(content) and None


def empty_hdf5(folder: Path) -> None:
    h5py.File(folder / FILES["v"], "w").close()


def without_data(folder: Path) -> None:
    with h5py.File(folder / FILES["v"], "w") as file:
        file["FACET 4.2/metadata/root name"] = "x"


def array_for_data(folder: Path) -> None:
    with h5py.File(folder / FILES["v"], "w") as file:
        file["FACET 4.2/data"] = np.zeros(3)


BAD = {
    "a missing stream": (lambda folder: (folder / FILES["a"]).unlink(), "*COVAREP*.csd: no such file"),
    "a missing list": (lambda folder: (folder / "folds/valid.txt").unlink(), "folds/valid.txt: no such file"),
    "two files for one stream": (
        copy_facet,
        "*Facet*.csd: 2 files match, CMU_X_VisualFacet41.csd, CMU_X_VisualFacet42.csd. Keep one",
    ),
    "a truncated file": (truncate, f"{FILES['a']}: cannot be read as HDF5"),
    "an empty HDF5 file": (empty_hdf5, f"{FILES['v']}: contains no computational sequence"),
    "no group of videos": (without_data, f"{FILES['v']}: has no 'FACET 4.2/data'"),
    "an array instead of the group of videos": (array_for_data, f"{FILES['v']}: 'FACET 4.2/data' is an array"),
    "one-dimensional features": (
        replace("v", "d2", "features", lambda values: values[:, 0]),
        f"{FILES['v']}: video 'd2': 'features' has shape",
    ),
    "features of width 0": (
        replace("a", "d2", "features", lambda values: values[:, :0]),
        f"{FILES['a']}: video 'd2': 'features' has shape",
    ),
    "features without values": (
        replace("a", "d2", "features", lambda _values: h5py.Empty("f4")),
        "/d2/features' holds no values",
    ),
    "intervals of three columns": (
        replace("l", "d2", "intervals", lambda values: np.hstack([values, values])[:, :3]),
        f"{FILES['l']}: video 'd2': 'intervals' has shape (40, 3)",
    ),
    "fewer intervals than features": (
        replace("labels", "d2", "intervals", lambda values: values[1:]),
        f"{FILES['labels']}: video 'd2': 'intervals' has shape (6, 2), 'features' (7, 7)",
    ),
    "an interval that is not a number": (
        replace("a", "d2", "intervals", set_cell(3, 1, np.nan)),
        f"{FILES['a']}: video 'd2': row 3 of 'intervals' runs from",
    ),
    "an infinite interval": (
        replace("labels", "d2", "intervals", set_cell(2, 1, np.inf)),
        f"{FILES['labels']}: video 'd2': row 2 of 'intervals' runs from",
    ),
    "an interval that ends before it starts": (
        replace("l", "d2", "intervals", set_cell(5, 1, -1.0)),
        f"{FILES['l']}: video 'd2': row 5 of 'intervals' runs from",
    ),
    "words instead of word vectors": (
        replace("l", "d2", "features", lambda values: np.full((len(values), 1), b"word")),
        f"{FILES['l']}: video 'd2': 'features' holds |S4 where numbers are expected",
    ),
    "a different width in one video": (
        replace("v", "d2", "features", lambda values: values[:, :2]),
        f"{FILES['v']}: video 'd2': 2 dimensions, but 3 in video 'A0'",
    ),
    "a video without features": (
        edit("a", lambda data: data.__delitem__("c1/features")),
        f"{FILES['a']}: has no 'c1/features'",
    ),
    "an array instead of a video": (
        edit("a", lambda data: (data.__delitem__("c1"), data.__setitem__("c1", [1.0]))),
        f"{FILES['a']}: has no 'c1/features'",
    ),
    "an external link instead of a video": (
        edit("a", relink(h5py.ExternalLink("/etc/hostname", "/x"))),
        f"{FILES['a']}: 'zeta/features' is a link to another place or file",
    ),
    "a soft link instead of a video": (
        edit("l", relink(h5py.SoftLink("/glove_vectors/data/a-1"))),
        f"{FILES['l']}: 'zeta/features' is a link to another place or file",
    ),
    "a shape far larger than the file": (
        edit("a", declare_huge),
        f"{FILES['a']}: 'zeta/features' declares 160000000000 bytes",
    ),
    "a label of 9": (
        replace("labels", "c1", "features", set_cell(4, 0, 9.0)),
        f"{FILES['labels']}: utterance 'c1[4]' has label 9.0, outside -3..3",
    ),
    "a label that is not a number": (
        replace("labels", "c1", "features", set_cell(4, 0, np.nan)),
        f"{FILES['labels']}: utterance 'c1[4]' has label nan, outside -3..3",
    ),
    "a video in two lists": (
        lists("test", b"d2\nd10\nzeta\n"),
        "folds/test.txt: video 'zeta' is also in folds/train.txt",
    ),
    "an empty list": (lists("valid", b"# none\n\n"), "folds/valid.txt: lists no videos"),
    "a list that is not UTF-8": (lists("valid", b"caf\xe9\n"), "folds/valid.txt: not UTF-8 text"),
    "a split without labelled videos": (lists("valid", b"ghost\n"), "the val split is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_input_is_refused_by_name(folder, step, case):
    damage_folder, message = BAD[case]
    damage_folder(folder)
    assert message in step.refuse(folder, "csd")


def test_files_of_different_corpora_are_refused(folder, step):
    for name, video in (("train", "x1"), ("valid", "x2"), ("test", "x3")):
        (folder / f"folds/{name}.txt").write_text(f"{video}\n")
    output = step.refuse(folder, "csd")
    assert f"{FILES['labels']}: no utterances are left (video in no fold list: 70)" in output


def test_a_stream_of_other_videos_is_refused(folder, step):
    write_stream(folder / FILES["v"], "FACET 4.2", {"other": (np.zeros((2, 3)), np.array([[0.0, 1.0], [1.0, 2.0]]))})
    assert "no utterances are left" in step.refuse(folder, "csd")


def test_an_external_link_for_a_whole_stream_is_refused(whole, folder, step):
    with h5py.File(folder / FILES["a"], "w") as file:
        file["COVAREP"] = h5py.ExternalLink(str(whole / FILES["a"]), "/COVAREP")
    assert f"{FILES['a']}: 'COVAREP/data' is a link to another place or file" in step.refuse(folder, "csd")


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": "50"}, {"step": 50}])
def test_wrong_options_name_the_key(options):
    with pytest.raises(ConfigError, match=r"datasets\.tiny\.options"):
        CorpusSettings.from_mapping({"dataset": "tiny", "layout": "csd", "options": options})
