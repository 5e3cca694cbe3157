"""Extraction through Snakemake: a dataset of clips, reruns and failures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from media_files import tone, write_wav
from workflow_copy import REPOSITORY, Workflow

EXPERIMENT = """\
experiments:
  clips:
    datasets: [clips]
    systems: [men]
    noise: [gaussian]
    snr_db: [-10]
    repeats: 1
    folds: 1
    tables: [2]
    figures: []
    training: {{constant_epochs: 1, decay_epochs: 1}}
datasets:
  clips:
    raw:
      chunks: 3
      max_failed: 0.1
{sections}
    folds: 3
    options: {{protocol: leave_one_group_out}}
"""
WORDS = "      l: {extractor: glove, vectors: vectors.txt}"
SOUND = "      a: {extractor: prosody, downsample: 10}"
CODE_EDIT = ("from __future__ import annotations", "from __future__ import annotations\n\nEDITED = True")
"""A change of any module that counts as a change of its code."""

CLASSES = {"glad": (["sun", "song"], 300), "sad": (["rain", "grey"], 120)}


def write_corpus(folder: Path, sound: bool) -> None:
    """Write thirty utterances of three speakers in two classes."""
    clips = folder / "data" / "clips"
    clips.mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = [
        f"{word} {' '.join(f'{x:.3f}' for x in random.standard_normal(5))}" for word in ("sun", "song", "rain", "grey")
    ]
    (folder / "data" / "vectors.txt").write_text("\n".join(lines) + "\n")
    rows = ["id,label,speaker,audio,text"]
    for number in range(30):
        label = list(CLASSES)[number % 2]
        words, hertz = CLASSES[label]
        text = " ".join(random.choice(words, 3))
        name = f"{number:02d}.wav" if sound else ""
        if sound:
            write_wav(clips / name, tone(0.5, hertz * random.uniform(0.9, 1.1)) + 0.01 * random.standard_normal(8000))
        rows.append(f"u{number:02d},{label},s{number // 10},{name},{text}")
    (clips / "utterances.csv").write_text("\n".join(rows) + "\n")


def clips_workflow(folder: Path, sound: bool) -> Workflow:
    workflow = Workflow(folder / "nmer")
    (workflow.folder / "config").mkdir(exist_ok=True)
    sections = "\n".join([WORDS, SOUND] if sound else [WORDS])
    (workflow.folder / "config" / "config.yaml").write_text(EXPERIMENT.format(sections=sections))
    write_corpus(workflow.folder, sound)
    return workflow


def run(workflow: Workflow, target="results/features/clips.json", **options):
    return workflow.snakemake(target, experiment="clips", **options)


def due(workflow: Workflow) -> dict[str, int]:
    """Return rule -> number of jobs of a dry run up to the feature store."""
    finished = workflow.snakemake("results/features/clips.json", "--dry-run", experiment="clips")
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output
    table = output.partition("Job stats:")[2].partition("total")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Workflow:
    """A finished extraction of words only, which needs no optional package."""
    workflow = clips_workflow(tmp_path_factory.mktemp("words"), sound=False)
    finished = run(workflow)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


@pytest.mark.slow
def test_words_become_a_feature_store(words):
    results = words.folder / "results"
    report = json.loads((results / "features/clips.json").read_text())
    assert report["class_counts"] == {"glad": 15, "sad": 15}
    assert any("30 of 30 utterances have features" in note for note in report["notes"])
    with h5py.File(results / "extracted/clips.h5") as file:
        assert file["l/values"].shape == (90, 5)
    listed = (results / "extracted/clips/utterances.csv").read_text()
    assert listed.startswith("id,label,speaker,audio,video,start,end,side,chunk\nu00,glad,s0,")
    everything = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
    assert b"song" not in everything  # words are stored nowhere


@pytest.mark.slow
def test_an_edit_makes_dependent_jobs_due(words):
    table, config = words.folder / "data/clips/utterances.csv", words.folder / "config/config.yaml"
    code = words.folder / "scripts/nmer/extraction"
    kept, settings = table.read_text(), config.read_text()
    rest = {"extract_join_clips": 1, "build_features": 1}
    assert due(words) == {}
    os.utime(table)
    assert due(words) == {}
    for path, old, new, expected in (
        (table, "u00,glad", "u00,sad", {"extract_list": 1, **rest}),
        (table, "u00,glad,s0,,s", "u00,glad,s0,,S", {"extract_list": 1, "extract": 1, **rest}),
        (config, "vectors.txt}", "vectors.txt, pad_to: 4}", {"extract": 3, **rest}),
        (config, "max_failed: 0.1", "max_failed: 0.2", rest),
        (code / "extractors/glove.py", *CODE_EDIT, {"extract": 3, **rest}),
        (code / "extractors/prosody.py", *CODE_EDIT, {}),
        (code / "media.py", *CODE_EDIT, {"extract": 3, **rest}),
    ):
        content = path.read_text()
        edit(path, old, new)
        assert due(words) == expected, (old, new)
        path.write_text(content)
    assert (table.read_text(), config.read_text()) == (kept, settings)
    assert due(words) == {}


@pytest.mark.slow
def test_results_without_snakemake_records_are_compared_by_their_own_records(words, tmp_path):
    copied = words.copied(tmp_path / "nmer")
    shutil.rmtree(copied.folder / ".snakemake")
    assert due(copied) == {}
    edit(copied.folder / "data/clips/utterances.csv", "u00,glad,s0,,s", "u00,glad,s0,,S")
    assert due(copied)["extract"] == 1


@pytest.fixture(scope="module")
def sounds(tmp_path_factory, needs) -> Workflow:
    """A finished extraction of audio and words with one unreadable clip."""
    needs("av")
    workflow = clips_workflow(tmp_path_factory.mktemp("sounds"), sound=True)
    (workflow.folder / "data/clips/07.wav").write_bytes(b"no sound")
    finished = run(workflow)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


@pytest.mark.slow
def test_an_unreadable_clip_is_named_counted_and_dropped(sounds):
    results = sounds.folder / "results"
    report = json.loads((results / "features/clips.json").read_text())
    assert report["utterances"] == 29
    assert "Modality a: 1 utterances are unreadable: u07." in report["warnings"]
    assert report["dropped"] == {"without features of a modality": 1}
    about = json.loads((results / "extracted/clips.json").read_text())["modalities"]["a"]
    assert (about["states"], about["ids"]) == ({"ok": 29, "unreadable": 1}, {"unreadable": ["u07"]})
    logs = "".join(path.read_text() for path in (results / "logs/extracted/clips/a").glob("*.log"))
    assert "u07: unreadable: 07.wav: is not audio or video in a known format" in logs


@pytest.mark.slow
def test_the_corpus_does_not_depend_on_cores_and_order(sounds, tmp_path):
    again = sounds.copied(tmp_path / "nmer")
    shutil.rmtree(again.folder / "results")
    shutil.rmtree(again.folder / ".snakemake")
    edit(again.folder / "config/config.yaml", "chunks: 3", "chunks: 5")
    finished = run(again, "results/extracted/clips.h5", cores=1)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    one, other = (w.folder / "results/extracted/clips.h5.sha256" for w in (sounds, again))
    assert one.read_text() == other.read_text()


@pytest.mark.slow
def test_a_changed_clip_makes_its_chunk_due_and_a_touched_clip_does_not(sounds, tmp_path):
    changed = sounds.copied(tmp_path / "nmer")
    clips = changed.folder / "data/clips"
    assert due(changed) == {}
    os.utime(clips / "03.wav")
    assert due(changed) == {}
    write_wav(clips / "03.wav", tone(0.6))
    expected = {"extract": 1, "extract_list": 1, "extract_join_clips": 1, "build_features": 1}
    assert due(changed) == expected
    finished = run(changed)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert due(changed) == {}


@pytest.mark.slow
def test_too_many_failed_clips_end_in_one_message_and_no_corpus(sounds, tmp_path):
    lost = sounds.copied(tmp_path / "nmer")
    for number in (1, 2, 3):
        (lost.folder / f"data/clips/{number:02d}.wav").unlink()
    finished = run(lost)
    assert finished.returncode != 0
    log = (lost.folder / "results/logs/extracted/clips/join.log").read_text()
    assert log == (
        "error: 4 of 30 utterances lack features of a modality (unreadable 1, missing_file 3); at most 10% may. The "
        "logs in results/logs/extracted name the files. Correct them, or raise datasets.clips.raw.max_failed.\n"
    )
    assert not (lost.folder / "results/extracted/clips.h5").exists()


@pytest.mark.slow
def test_status_counts_extraction_jobs(sounds):
    command = [sys.executable, "scripts/status.py", "--config", "experiment=clips"]
    finished = subprocess.run(command, cwd=sounds.folder, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"extraction +8 +8", finished.stdout), finished.stdout


def write_release(root: Path, sessions) -> None:
    """Write labels and transcripts: per session one dialogue with 24 utterances, two speakers, four classes."""
    labels = ("neu", "hap", "ang", "sad")
    words = ("sun", "song", "rain", "grey")
    for session in sessions:
        dialogue = f"Ses{session:02d}F_impro01"
        folder = root / f"Session{session}" / "dialog"
        (folder / "EmoEvaluation").mkdir(parents=True)
        (folder / "transcriptions").mkdir()
        heads, lines = [], []
        for number in range(24):
            name = f"{dialogue}_{'FM'[number % 2]}{number // 2:03d}"
            heads.append(f"[{number}.0 - {number}.9]\t{name}\t{labels[number // 2 % 4]}\t[2.5, 2.5, 2.5]\n")
            lines.append(f"{name} [{number}.0-{number}.9]: {words[number // 2 % 4]} sun")
        (folder / "EmoEvaluation" / f"{dialogue}.txt").write_text("\n".join(heads))
        (folder / "transcriptions" / f"{dialogue}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_the_iemocap_release_gets_the_ten_folds_of_the_protocol(words, tmp_path):
    workflow = words.copied(tmp_path / "nmer")
    shutil.rmtree(workflow.folder / "results")
    shutil.rmtree(workflow.folder / ".snakemake")
    write_release(workflow.folder / "data/release", range(1, 6))
    config = workflow.folder / "config/config.yaml"
    edit(config, "      chunks: 3", "      source: iemocap_release\n      path: release\n      chunks: 3")
    edit(config, "    folds: 3\n    options: {protocol: leave_one_group_out}\n", "")
    finished = run(workflow)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    report = json.loads((workflow.folder / "results/features/clips.json").read_text())
    assert report["class_counts"] == {"angry": 30, "happy": 30, "neutral": 30, "sad": 30}
    assert len(report["folds"]) == 10
    assert any("120 labelled utterances; the release has 10039." in warning for warning in report["warnings"])
    with h5py.File(workflow.folder / "results/features/clips.h5") as store:
        speakers = store["utterance/speaker"].asstr()[()]
        # SPEC 5.1: fold 2s - 1 tests session s's man and validates on its woman, fold 2s the reverse.
        for fold, test, val in ((1, "1M", "1F"), (2, "1F", "1M"), (9, "5M", "5F"), (10, "5F", "5M")):
            assert set(speakers[store[f"fold/{fold}/test"][()]]) == {test}
            assert set(speakers[store[f"fold/{fold}/val"][()]]) == {val}
            assert not {test, val} & set(speakers[store[f"fold/{fold}/train"][()]])


@pytest.mark.slow
def test_the_benchmark_measures_the_selected_extractors(needs):
    needs("av", "skimage")
    command = [sys.executable, "benchmarks/extraction.py", "--films", "30", "--only", "prosody", "glove"]
    finished = subprocess.run(command, cwd=REPOSITORY, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    rows = [line.split(" | ") for line in finished.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["| prosody", "50"], ["| glove", "50"]]
    assert all(float(cell) > 0 for row in rows for cell in row[2:4])
