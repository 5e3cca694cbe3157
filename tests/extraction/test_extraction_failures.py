"""Failures of custom plug-ins and full disks end in one message, without partial output."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sys
from types import SimpleNamespace

import extract
import extract_join
import extract_list
import h5py
import pytest

from nmer import command
from nmer.errors import REMEDIES
from nmer.extraction.features_file import read_entries

EXTRACTOR = """\
import numpy as np
from nmer.extraction.registry import Extracted, UnusableError, extractor


@extractor("mine", modality="l", needs=("text",), licence="free")
def mine(segment):
    values, counts = np.full((2, 3), len(segment.text), np.float32), {{"words": np.int64(1)}}
    if segment.id == "u2":
        {failure}
    return Extracted(values, counts)
"""
TABLE = "id,label,video,text\nu1,x,one.mp4,hello\nu2,y,two.mp4,good day\n"


@pytest.fixture
def job(tmp_path, monkeypatch, capsys):
    """A chunk of two clips, and functions that run the steps and return their messages."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "utterances.csv").write_text(TABLE)
    file, cache, output = (tmp_path / name for name in ("mine.py", "cache.h5", "out/l.h5"))

    def run(step, **arguments: object) -> str:
        options = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", [step.__name__, *options])
        with contextlib.suppress(SystemExit):
            command.run(step.main)
        assert not [path for path in tmp_path.rglob(".*") if path.suffix == ".tmp"]
        return capsys.readouterr().err

    def run_extract(failure: str = "pass") -> str:
        file.write_text(EXTRACTOR.format(failure=failure))
        settings = {"dataset": "d", "modality": "l", "extractor": "mine", "file": str(file), "source": {"chunks": 1}}
        return run(extract, settings=json.dumps(settings), root=clips, cache=cache, output=output)

    return SimpleNamespace(
        folder=tmp_path, clips=clips, file=file, cache=cache, output=output, run=run, extract=run_extract
    )


@pytest.mark.parametrize(
    ("failure", "exception"),
    [
        ("raise ValueError('two\\n  lines.')", "line 9: ValueError: two lines"),
        ("raise KeyError", "line 9: KeyError"),
        ("json.loads('{')", "line 9: NameError: name 'json' is not defined"),
        ("open('absent.bin')", "line 9: FileNotFoundError: [Errno 2] No such file or directory: 'absent.bin'"),
        ("raise SystemExit(0)", "line 9: SystemExit: 0"),
        ("np.linalg.inv(np.zeros((2, 2)))", "line 9: LinAlgError: Singular matrix"),
    ],
)
def test_an_exception_in_a_custom_extractor_names_file_clip_and_exception(job, failure, exception):
    message = job.extract(failure)
    assert message.splitlines()[-1] == (
        f"error: {job.file}: failed for utterance 'u2' (two.mp4): {exception}. Correct the extractor, or let it raise "
        "UnusableError for clips that it cannot handle."
    )
    assert not re.search("Traceback", message)
    assert not job.output.parent.exists()
    assert [entry.id for entry in read_entries(job.cache)[0]] == ["u1"]  # finished work is kept


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("raise UnusableError('odd', 'x')", "unknown state 'odd' for utterance 'u2' (two.mp4). Choose from: no_face, "),
        ("values = [[1.0], [1.0, 2.0]]", "returned values or counts that are not numbers for utterance 'u2'"),
        ("counts = None", "returned values or counts that are not numbers for utterance 'u2'"),
    ],
)
def test_an_invalid_result_of_a_custom_extractor_ends_in_one_message(job, failure, message):
    last = job.extract(failure).splitlines()[-1]
    assert last.startswith(f"error: {job.file}: {message}")
    assert not job.output.exists()


def test_a_custom_extractor_that_cannot_be_imported_ends_in_one_message(job):
    content = EXTRACTOR.replace("import numpy as np\n", "import numpy as np\nimport a_module_that_does_not_exist\n")
    job.file.write_text(content.format(failure="pass"))
    settings = {"dataset": "d", "modality": "l", "extractor": "mine", "file": str(job.file), "source": {"chunks": 1}}
    message = job.run(extract, settings=json.dumps(settings), root=job.clips, cache=job.cache, output=job.output)
    assert message == (
        f"error: {job.file}: cannot be imported: line 2: ModuleNotFoundError: No module named "
        "'a_module_that_does_not_exist'. Correct the file.\n"
    )


def test_an_exception_in_a_custom_source_names_its_file(job):
    source = job.folder / "archive.py"
    source.write_text(
        "from nmer.extraction.registry import source\n\n\n"
        '@source("archive")\ndef read(root):\n    return {}["labels"]\n'
    )
    settings = {"dataset": "d", "source": "archive", "file": str(source)}
    outputs = {"utterances": job.folder / "u.csv", "summary": job.folder / "s.json"}
    message = job.run(
        extract_list, settings=json.dumps(settings), root=job.clips, memory=job.folder / "m.json", **outputs
    )
    assert message == (f"error: {source}: failed: line 6: KeyError: 'labels'. Correct the source of utterances.\n")
    assert not any(path.exists() for path in outputs.values())


def fill_disk(monkeypatch, after: int = 0) -> None:
    """Let the disk be full when HDF5 writes a dataset, after this number of datasets."""
    create, written = h5py.Group.create_dataset, []

    def full(*arguments, **options):
        if len(written) >= after:
            raise OSError(errno.ENOSPC, "Can't synchronously write data (file write failed: time = …)")
        written.append(arguments)
        return create(*arguments, **options)

    monkeypatch.setattr(h5py.Group, "create_dataset", full)


@pytest.mark.parametrize(("written", "name"), [(0, "cache"), (3, "cache"), (8, "output")])
def test_a_full_disk_during_extraction_ends_in_one_message(job, monkeypatch, written, name):
    with monkeypatch.context() as patch:
        fill_disk(patch, written)
        message = job.extract()
    path = getattr(job, name)
    assert message.splitlines()[-1] == f"error: {path}: No space left on device. {REMEDIES[errno.ENOSPC]}"
    assert "Traceback" not in message
    assert not path.exists()
    assert not job.output.exists()
    assert "error" not in job.extract()
    assert job.output.exists()


def test_a_full_disk_while_joining_ends_in_one_message(job, monkeypatch):
    job.extract()
    listing = {"utterances": job.folder / "u.csv", "summary": job.folder / "s.json"}
    settings = json.dumps({"dataset": "d", "chunks": 1})
    job.run(extract_list, settings=settings, root=job.clips, memory=job.folder / "m.json", **listing)
    corpus = job.folder / "d.h5"
    with monkeypatch.context() as patch:
        fill_disk(patch, after=8)
        message = job.run(
            extract_join,
            settings=json.dumps({"dataset": "d", "modalities": ["l"]}),
            **listing,
            chunks=job.output,
            joined=job.folder / "l.h5",
            output=corpus,
            report=job.folder / "d.json",
        )
    assert message.splitlines()[-1].startswith(f"error: {corpus}: No space left on device. ")
    assert not corpus.exists()
    assert not (job.folder / "d.json").exists()
