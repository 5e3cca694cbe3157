"""Datasets of raw media in the plan: defaults, invalid configurations, and due jobs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import extract_join
import numpy as np
import pytest
from shipped import shipped_config

from nmer.errors import ConfigError, DataError, NmerError
from nmer.extraction.registry import Segment, UnusableError, extractors
from nmer.extraction.step_settings import check_declaration
from nmer.plan.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = "id,label,speaker,audio,text\nu1,glad,s1,a.wav,one\nu2,sad,s2,b.wav,two\nu3,sad,s3,c.wav,three\n"


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """A folder of clips with a table and word vectors, below the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "clips"
    folder.mkdir(parents=True)
    (folder / "utterances.csv").write_text(TABLE)
    for name in "abc":
        (folder / f"{name}.wav").write_bytes(name.encode())
    (tmp_path / "data" / "vectors.txt").write_text("one 1 2\n")
    return folder


WORDS = {"l": {"extractor": "glove", "vectors": "vectors.txt"}}


def make_plan(raw=None, **section) -> Plan:
    config = shipped_config()
    config["datasets"]["clips"] = {"raw": {"chunks": 4, **(WORDS if raw is None else raw)}, "folds": 3} | section
    config["experiments"]["tiny"] |= {"datasets": ["clips"], "systems": ["men"]}
    return Plan(config | {"experiment": "tiny"})


def of(chunk=0, modality="l"):
    return SimpleNamespace(dataset="clips", modality=modality, chunk=str(chunk))


def states(plan, modality="l"):
    return [json.loads(plan.extract_settings(of(chunk, modality)))["state"] for chunk in range(4)]


def test_a_dataset_of_raw_media_becomes_a_ragged_file_of_the_extracted_modalities(clips):
    plan = make_plan()
    assert plan.modalities("clips") == ("l",)
    assert str(plan.source(of())) == "results/extracted/clips.h5"
    assert plan.corpus_inputs(of())["digest"] == "results/extracted/clips.h5.sha256"
    assert '"layout": "ragged_hdf5"' in plan.features_settings(of())


def test_an_iemocap_release_has_the_ten_folds_of_the_paper(release, monkeypatch):
    monkeypatch.chdir(release.parent)
    (release.parent / "data").symlink_to(release.parent)
    (release.parent / "vectors.txt").write_text("one 1 2\n")
    plan = make_plan({"source": "iemocap_release", "path": release.name, **WORDS}, folds=10)
    assert plan.folds("clips") == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10][: len(plan.folds("clips"))]
    assert '"protocol": "given"' in plan.features_settings(of())
    assert '"speaker_folds": true' in plan.join_settings(of())


def test_a_changed_word_makes_its_chunk_due_and_a_changed_label_only_the_list(clips):
    plan = make_plan()
    own, listed = states(plan), plan.list_settings(of())
    (clips / "utterances.csv").write_text(TABLE.replace("u1,glad,s1", "u1,sad,s9"))
    relabelled = make_plan()
    assert states(relabelled) == own
    assert relabelled.list_settings(of()) != listed
    (clips / "utterances.csv").write_text(TABLE.replace("three", "four"))
    assert sum(a != b for a, b in zip(states(make_plan()), own, strict=True)) == 1


def test_a_changed_clip_or_model_makes_dependent_chunks_due(clips, needs):
    needs("av")
    raw = WORDS | {"a": {"extractor": "prosody"}}
    before = {m: states(make_plan(raw), m) for m in "al"}
    (clips / "a.wav").write_bytes(b"other")
    changed = {m: states(make_plan(raw), m) for m in "al"}
    assert sum(a != b for a, b in zip(changed["a"], before["a"], strict=True)) == 1
    assert changed["l"] == before["l"]
    Path("data/vectors.txt").write_text("one 3 4\n")
    retrained = {m: states(make_plan(raw), m) for m in "al"}
    assert all(a != b for a, b in zip(retrained["l"], changed["l"], strict=True))
    assert retrained["a"] == changed["a"]


def test_an_option_of_an_extractor_affects_its_modality_only(clips, needs):
    needs("av")
    one = make_plan(WORDS | {"a": {"extractor": "prosody"}})
    other = make_plan(WORDS | {"a": {"extractor": "prosody", "downsample": 5}})
    assert one.extract_settings(of()) == other.extract_settings(of())
    assert one.extract_settings(of(modality="a")) != other.extract_settings(of(modality="a"))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "has no extractor"),
        ({"l": {"extractor": "glov", "vectors": "vectors.txt"}}, r"raw\.l\.extractor: .*Did you mean 'glove'\?"),
        ({"a": {"extractor": "glove"}}, r"raw\.a: extractor 'glove' is of modality l, not a"),
        ({"l": {"extractor": "glove"}}, r"raw\.l: extractor 'glove' needs the key 'vectors'"),
        ({"l": {"extractor": "glove", "vectors": "none.txt"}}, r"data/none\.txt does not exist\. Get vectors, e\.g\."),
        ({"l": {"extractor": "glove", "vectors": "vectors.txt", "pad": 1}}, r"raw\.l: unknown key 'pad'"),
        ({"l": {"extractor": "glove", "vectors": "vectors.txt", "pad_to": -1}}, r"raw\.l\.pad_to: -1 is too small"),
        ({**WORDS, "sides": "left"}, r"raw: unknown key 'sides'"),
        ({**WORDS, "source": "tables"}, r"raw\.source: .*Did you mean 'table'\?"),
        ({**WORDS, "chunks": 0}, r"raw\.chunks"),
        ({**WORDS, "max_failed": 2}, r"raw\.max_failed"),
        ({**WORDS, "on_failure": "keep"}, "Choose from: drop, zeros"),
        ({"l": "glove"}, r"raw\.l: 'glove' is not of type object"),
        ({**WORDS, "path": "none"}, r"raw\.path: data/none is not a folder"),
        ({**WORDS, "generate": {"utterances": 3}}, "at least 30 utterances"),
        ({**WORDS, "generate": {"voices": 3}}, "unknown key 'voices'"),
        ({**WORDS, "source": "iemocap_release", "side": "left"}, r"raw\.side: 'left' is not possible"),
    ],
)
def test_an_invalid_raw_section_ends_in_one_message_with_its_key(clips, raw, message):
    with pytest.raises(NmerError, match=message) as refused:
        make_plan(raw)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("datasets.clips")


@pytest.mark.parametrize("key", ["layout", "path", "download", "paper_name"])
def test_raw_excludes_the_keys_that_it_replaces(clips, key):
    value = {"download": [{"url": "https://example.org/x"}], "paper_name": "IEMOCAP"}.get(key, "npy_folder")
    with pytest.raises(ConfigError, match=f"'{key}' and 'raw' exclude each other"):
        make_plan(**{key: value})


def test_modalities_must_match_the_extractors(clips):
    with pytest.raises(ConfigError, match=r"modalities: raw has extractors for l"):
        make_plan(modalities=["a", "l"])


def test_a_table_without_the_input_of_an_extractor_is_refused(clips):
    (clips / "utterances.csv").write_text("id,label\nu1,glad\n")
    with pytest.raises(DataError, match=r"raw\.l: no utterance has text"):
        make_plan()


def test_a_missing_package_ends_in_one_message_with_the_command(clips, monkeypatch):
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "av" else found(name, *rest))
    with pytest.raises(ConfigError, match=r"raw\.a needs the package 'av', which is not installed.* make extraction"):
        make_plan({"a": {"extractor": "prosody"}})


def test_a_named_pipe_is_not_read(clips, needs):
    needs("av")
    (clips / "a.wav").unlink()
    os.mkfifo(clips / "a.wav")
    assert len(states(make_plan({"a": {"extractor": "prosody"}}), "a")) == 4


def test_the_page_lists_every_option_of_every_built_in_extractor_with_its_default():
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| .+ \|$", (REPOSITORY / "docs/extraction.md").read_text(), re.MULTILINE
    )
    found = {(name, option): default for name, option, default in rows}
    expected = {}
    for name in extractors.shipped():
        declared = extractors.declaration(name)
        for option, default in declared.options.items():
            documented = (
                f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "none"
            )
            expected[name, option] = "required" if option in declared.attributes.get("required", ()) else documented
    assert found == expected


def test_the_example_extractor_of_the_page_works(tmp_path):
    page = (REPOSITORY / "docs/extraction.md").read_text()
    own = tmp_path / "loudness.py"
    own.write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    check_declaration(extractors.declaration("loudness", str(own)), "a", "here")
    values, counts = extractors.load("loudness", str(own))(Segment("u", audio=np.full(3200, 0.5, np.float32)))
    np.testing.assert_allclose(values, np.full((20, 1), np.log(0.25 + 1e-6)), rtol=1e-5)
    assert counts == {"frames": 20}
    with pytest.raises(UnusableError):
        extractors.load("loudness", str(own))(Segment("u"))


def test_missing_sessions_are_skipped_in_the_numbering():
    folds = extract_join._consecutive_folds(["1F", "1M", "2F", "2M", "5F", "5M"])
    assert sorted(folds) == [1, 2, 3, 4, 5, 6]
    assert folds[5]["test"].tolist() == [5]
