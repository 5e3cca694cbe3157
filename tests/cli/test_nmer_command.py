"""The command ``nmer``: sub-commands equal the steps, and wrong calls end in one line."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from snakemake.cli import get_argument_parser

import nmer
from nmer.cli import main as cli
from nmer.cli import workflow

REPOSITORY = Path(__file__).resolve().parents[2]


def nmer_command(*arguments: object) -> None:
    with mock.patch.object(sys, "argv", ["nmer", *map(str, arguments)]):
        cli.main()


def failure(capsys, *arguments: object, status: int = 1) -> str:
    """Run a command that must fail and return its error output."""
    with pytest.raises(SystemExit) as ended:
        nmer_command(*arguments)
    assert ended.value.code == status
    return capsys.readouterr().err


@pytest.mark.parametrize("name", cli.SUBCOMMANDS)
def test_every_subcommand_shows_an_example_of_itself(name, capsys):
    with pytest.raises(SystemExit) as ended:
        nmer_command(name, "--help")
    assert ended.value.code == 0
    assert f"nmer {name}" in capsys.readouterr().out.split("Example")[1]


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        nmer_command("--version")
    assert capsys.readouterr().out == f"nmer {nmer.__version__}\n"


def test_an_unknown_or_missing_subcommand_is_a_usage_error(capsys):
    assert "invalid choice: 'prdict'" in failure(capsys, "prdict", status=2)
    assert "required: SUBCOMMAND" in failure(capsys, status=2)


# The workflow


def called(*arguments: object, gpus: str = "") -> list[str]:
    """Return the command line that a sub-command runs."""
    finished = mock.Mock(returncode=7, stdout=gpus)
    with (
        mock.patch.object(workflow.subprocess, "run", return_value=finished) as run,
        pytest.raises(SystemExit) as ended,
    ):
        nmer_command(*arguments)
    assert ended.value.code == 7
    return run.call_args.args[0]


def test_run_calls_snakemake_with_every_core_and_gpu(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    command = called("run", gpus="GPU 0: x\nGPU 1: y\n")
    assert command[1:5] == ["-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    assert command[5:-1] == ["--resources", "gpu=2", "--config", "experiment=demo", "--cores"]
    assert int(command[-1]) >= 1


def test_run_passes_data_configuration_profile_and_additional_options_to_snakemake(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("experiment: paper")
    arguments = ("run", "paper", "--data", "corpora", "--cores", 4, "--gpus", 1, "--configfile", "own.yaml")
    command = called(*arguments, "--workflow", REPOSITORY, "--profile", "p", "--", "--dry-run", "--quiet", "rules")
    assert command[5:] == [
        *("--resources", "gpu=1", "--profile", "p"),
        *("--config", "experiment=paper", f"data={tmp_path / 'corpora'}"),
        *("--configfile", str(tmp_path / "own.yaml"), "--cores", "4", "--dry-run", "--quiet", "rules"),
    ]


def test_run_takes_files_to_make_for_targets(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    words = called("run", "tiny", "--", "results/tiny/scores.csv", "--dry-run")
    parsed = get_argument_parser().parse_args(words[words.index("snakemake") + 1 :])
    assert parsed.targets == ["results/tiny/scores.csv"]
    assert parsed.dryrun


@pytest.mark.parametrize(("name", "script"), [("status", "status.py"), ("report", "partial_report.py")])
def test_status_and_report_call_their_steps_from_anywhere(monkeypatch, tmp_path, name, script):
    monkeypatch.chdir(tmp_path)
    assert called(name, "tiny")[1:] == [str(REPOSITORY / "scripts" / script), "--config", "experiment=tiny"]


def test_a_folder_without_the_workflow_is_refused(capsys, tmp_path):
    error = failure(capsys, "run", "--workflow", tmp_path)
    assert error == (
        f"error: {tmp_path}: has no Snakefile of NMER. Call this in a clone of the repository, or pass one: "
        "--workflow FOLDER.\n"
    )


@pytest.mark.parametrize("arguments", [("--cores", 0), ("--cores", -2), ("--gpus", -1)])
def test_impossible_numbers_are_refused(capsys, arguments):
    assert failure(capsys, "run", *arguments) == "error: --cores must be at least 1, --gpus at least 0.\n"


def test_without_a_driver_no_gpu_is_used():
    with mock.patch.object(workflow.subprocess, "run", side_effect=FileNotFoundError):
        assert workflow.count_gpus() == 0


@pytest.mark.parametrize("name", ["run", "status", "report"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"text", "not a mapping"),
        (b"", "not a mapping"),
        (b"a: [", "not valid YAML"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_an_unreadable_configuration_is_refused_in_one_line_that_names_it(
    capsys, monkeypatch, tmp_path, name, content, expected
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "with space.yaml"
    if content is not None:
        file.write_bytes(content)
    error = failure(capsys, name, "tiny", "--configfile", file)
    assert error.startswith(f"error: {file}: ")
    assert expected in error
    assert error.count("\n") == 1
    if content is not None:
        Path("config").mkdir()
        file.rename("config/config.yaml")
        assert failure(capsys, name, "tiny").startswith("error: config/config.yaml: ")


def test_run_without_snakemake_names_the_installation(capsys):
    with mock.patch.object(workflow, "find_spec", return_value=None):
        error = failure(capsys, "run", "--workflow", REPOSITORY)
    assert error == f"error: {sys.executable}: has no Snakemake. Install it: pip install '{REPOSITORY}[workflow]'.\n"


# Noise


def test_an_output_that_is_an_input_or_a_folder_is_refused_before_anything_is_computed(tmp_path, capsys):
    clean = tmp_path / "clean.npy"
    np.save(clean, np.ones((3, 2)))
    before = clean.read_bytes()
    (tmp_path / "link.npy").symlink_to(clean)
    noise = ("noise", "--input", clean, "--modality", "a", "--snr-db", -10, "--output")
    for output in (clean, tmp_path / "link.npy"):
        expected = f"error: --output: {output} is read by this command and would be overwritten. Name another file.\n"
        assert failure(capsys, *noise, output) == expected
    assert clean.read_bytes() == before
    folder = f"{tmp_path} is a folder. Name a file.\n"
    assert failure(capsys, *noise, tmp_path) == f"error: --output: {folder}"
    predict = ("predict", "--model", clean, "--features", clean, "--out")
    assert failure(capsys, *predict, tmp_path) == f"error: --out: {folder}"
    assert "would be overwritten" in failure(capsys, *predict, clean)
    assert failure(capsys, "compare", "a", "b", "--csv", tmp_path) == f"error: --csv: {folder}"
    assert f"{clean} is a file, so {clean / 'x.npy'}" in failure(capsys, *noise, clean / "x.npy")
    inside = ("noise", "--input", tmp_path, "--layout", "npy_folder", "--snr-db", -10, "--output", clean)
    assert "exists in the folder that this command reads" in failure(capsys, *inside)
    assert clean.read_bytes() == before


def test_noise_equals_that_of_the_library(tmp_path, capsys):
    clean = np.random.default_rng(0).standard_normal((40, 6))
    np.save(tmp_path / "clean.npy", clean)
    arguments = ("noise", "--input", tmp_path / "clean.npy", "--modality", "a", "--snr-db", -10)
    nmer_command(*arguments, "--output", tmp_path / "noisy.npy")
    expected = nmer.corrupt_features({"0": clean}, "gaussian", -10, dataset="own", modality="a").utterances["0"]
    np.testing.assert_array_equal(np.load(tmp_path / "noisy.npy"), expected)
    assert "attained_db" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--input", "absent.npy"), "absent.npy: no such file"),
        (("--input", "text.npy"), "text.npy: cannot be read"),
        (("--input", "text.npy", "--noise", "gausian"), "Did you mean 'gaussian'?"),
        (("--input", "nan.npy"), "error: nan.npy: Features contain NaN"),
        (("--input", "huge.npy"), "error: huge.npy: Features contain NaN"),
        (("--input", "none.npy"), "none.npy: contains no values"),
        (("--input", "good.npy", "--noise", "missing"), "'missing' has no SNR"),
        (("--input", "good.npy", "--schedule", '{"beta_start": "x"}'), "noise.beta_start: 'x' is not a number"),
        (("--input", "good.npy", "--schedule", '{"beta_end": 2}'), "noise.beta_end: 2 is not a number"),
        (("--input", "good.npy", "--schedule", '{"beta_start": 0.5}'), "The betas of a schedule must increase"),
        (("--input", "good.npy", "--schedule", '{"chain": 0.5}'), "noise.fixed_chain: 0.5 is not a whole number"),
        (("--input", "good.npy", "--schedule", '{"shape": 3}'), "unknown schedule '3'"),
        (("--input", "good.npy", "--layout-settings", '{"folds": 3}'), "--layout-settings: applies only to a corpus"),
        (("--input", "good.npy", "--layout", "npy_folder"), "--modality: applies only to a .npy file"),
    ],
)
def test_wrong_input_of_noise_is_refused_in_one_line(tmp_path, capsys, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    Path("text.npy").write_text("text")
    np.save("good.npy", np.arange(8.0).reshape(4, 2))
    np.save("nan.npy", np.full((4, 2), np.nan))
    np.save("huge.npy", np.full((4, 2), 1e300))  # infinite as float32
    np.save("none.npy", np.empty((0, 2)))
    error = failure(capsys, "noise", *arguments, "--modality", "a", "--snr-db", -10, "--output", "noisy.npy")
    assert expected in error
    assert error.count("\n") == 1
    assert not Path("noisy.npy").exists()


# Corpora


def write_corpus(folder: Path, labels: str = "ab") -> Path:
    """A corpus in the layout npy_folder, with 30 utterances in three splits."""
    with (folder / "utterances.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "label", "split"])
        for number in range(30):
            split = ("train", "val", "test")[number // 10]
            writer.writerow([f"u{number}", labels[number % len(labels)], split])
    for m, dim in {"a": 4, "v": 3, "l": 5}.items():
        (folder / m).mkdir()
        for number in range(30):
            np.save(folder / m / f"u{number}.npy", np.random.default_rng(number).standard_normal((3, dim)))
    return folder


def test_a_whole_corpus_is_described(tmp_path, capsys):
    nmer_command("check-corpus", write_corpus(tmp_path), "--layout", "npy_folder")
    output = capsys.readouterr().out
    assert "30 utterances" in output
    assert "train" in output


def test_a_corpus_that_cannot_be_trained_on_is_refused_in_one_line(tmp_path, capsys):
    folder = write_corpus(tmp_path)
    (folder / "v" / "u3.npy").unlink()
    error = failure(capsys, "check-corpus", folder, "--layout", "npy_folder")
    assert "u3.npy" in error
    assert error.count("\n") == 1
    assert "Did you mean 'npy_folder'?" in failure(capsys, "check-corpus", folder, "--layout", "npy_folders")
    assert "absent" in failure(capsys, "check-corpus", tmp_path / "absent", "--layout", "npy_folder")
    settings = json.dumps({"fold": 3})
    assert "fold" in failure(capsys, "check-corpus", folder, "--layout", "npy_folder", "--settings", settings)


# Systems

GOOD = """
import torch
from torch import nn

from nmer.systems.interface import System
from nmer.systems.registry import system


@system("own")
class Own(System):
    width: int = 8

    def __init__(self, dims, classes, dropout{extra}, **options):
        super().__init__(dims, classes, dropout, **options)
        self.encoders = nn.ModuleDict({{m: nn.Linear(dim, self.width) for m, dim in dims.items()}})
        self.head = nn.Linear(3 * self.width, classes)
        {init}

    def encode(self, modality, sequences):
        frames = self.encoders[modality](sequences.values) * sequences.valid()[:, :, None]
        encoded = frames.sum(1) / sequences.lengths[:, None]
        {encode}
        return encoded

    def fuse(self, encodings):
        logits = self.head(torch.cat(list(encodings.values()), dim=1))
        {fuse}
        return {{"logits": logits}}
    {more}
"""

BROKEN = {
    "a missing logits": ({"fuse": "return {'scores': logits}"}, "must return a dictionary with 'logits'", 1),
    "a wrong shape": ({"fuse": "logits = logits[:, :2]"}, "'logits' must have the shape (24, 4)", 1),
    "no tensor": ({"fuse": "logits = logits.tolist()"}, "must be a tensor", 1),
    "a wrong encoding": ({"encode": "return encoded.sum(1)"}, "encode('a', …) must have the shape (24, width)", 1),
    "infinite logits": ({"fuse": "logits = logits / 0"}, "'logits' is not finite", 1),
    "neighbours": ({"encode": "encoded = encoded - encoded.mean(0)"}, "depends on the other utterances", 1),
    "padding": ({"encode": "encoded = self.encoders[modality](sequences.values).mean(1)"}, "depends on padding", 1),
    "a draw in evaluation": ({"fuse": "logits = logits + torch.randn_like(logits)"}, "in evaluation mode", 1),
    "an unused parameter": ({"init": "self.unused = nn.Linear(2, 2)"}, "'unused.weight' has no gradient", 1),
    "a bare parameter": (
        {"init": "self.bias = nn.Parameter(torch.zeros(classes))", "fuse": "logits = logits + self.bias"},
        "its gradient is not clipped",
        1,
    ),
    "an exception of the system": ({"fuse": "logits = encodings['x']"}, "fuse(…) fails: KeyError", 1),
    "an undeclared option": ({"extra": ", depth=2"}, "takes 'depth', which is not declared as an option", 1),
    "a loss that is not a dictionary": (
        {"more": "def loss(self, outputs, batch): return outputs['logits'].sum()"},
        "loss(…) must return a dictionary",
        1,
    ),
    "a term that is not a number": (
        {"more": "def loss(self, outputs, batch): return {'all': outputs['logits']}"},
        "the term 'all' of its loss must have the shape ()",
        1,
    ),
    "an infinite loss": (
        {"more": "def loss(self, outputs, batch): return {'all': outputs['logits'].sum() / 0}"},
        "the term 'all' of its loss is not finite",
        1,
    ),
    "buffers": ({"init": "self.norm = nn.BatchNorm1d(3 * self.width, affine=False)"}, "has buffers", 0),
    "an operation that vmap cannot run": (
        {"fuse": "logits = logits * float(logits.detach().abs().max() > -1)"},
        "cannot be trained jointly",
        0,
    ),
}


def write_system(folder: Path, **parts: str) -> Path:
    empty = dict.fromkeys(("init", "encode", "fuse"), "pass") | dict.fromkeys(("extra", "more"), "")
    (folder / "own.py").write_text(GOOD.format(**empty | parts))
    return folder / "own.py"


def test_a_valid_system_has_no_faults(tmp_path, capsys):
    nmer_command("check-system", "own", "--file", write_system(tmp_path), "--options", '{"width": 5}')
    assert capsys.readouterr().out == "own: nothing is wrong.\n"


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_of_a_system_is_reported_in_one_line(tmp_path, capsys, name):
    parts, expected, status = BROKEN[name]
    arguments = ("check-system", "own", "--file", write_system(tmp_path, **parts))
    if status:
        found = failure(capsys, *arguments)
    else:
        nmer_command(*arguments)
        found = capsys.readouterr().err
    lines = [line for line in found.splitlines() if expected in line]
    assert lines, found
    assert all(line.startswith("error: " if status else "warning: ") for line in lines)


def test_an_option_that_no_configuration_can_set_is_refused(tmp_path, capsys):
    file = write_system(tmp_path)
    file.write_text(file.read_text().replace("width: int = 8", 'width: int = 8\n    title: str = ""'))
    expected = f"error: {file}: 'own' has an option 'title', a name that the configuration reserves"
    assert failure(capsys, "check-system", "own", "--file", file).startswith(expected)


WRONG_FILES = {
    "absent": (lambda path: None, "no such file. Name the Python file that declares the {sort} 'own'."),
    "folder": (Path.mkdir, "is a folder. Name the Python file that declares the {sort} 'own'."),
    "empty": (Path.touch, "declares no {sort} 'own'. Put @{decorator}(\"own\") above its class or function."),
    "text": (lambda path: path.write_text("my system"), ", line 1: not valid Python (invalid syntax). Correct it."),
    "another encoding": (
        lambda path: path.write_bytes('x = "é"'.encode("latin-1")),
        "not valid Python ((unicode error) 'utf-8' codec can't decode byte 0xe9",
    ),
    "bytes": (lambda path: path.write_bytes(b"\0"), "not valid Python (source code string cannot contain null bytes)."),
}


@pytest.mark.parametrize("fault", WRONG_FILES)
@pytest.mark.parametrize("subcommand", ["check-system", "noise", "predict"])
def test_a_file_without_the_plug_in_is_named_with_its_fault(tmp_path, capsys, subcommand, fault):
    make, expected = WRONG_FILES[fault]
    make(file := tmp_path / "own.py")
    np.save(clean := tmp_path / "clean.npy", np.ones((3, 2)))
    model = tmp_path / "model.safetensors"
    about = {"system": "own", "dims": {"a": 2, "v": 2, "l": 2}, "classes": ["x", "y"]}
    save_file({"repeat1.weight": torch.zeros(2)}, model, {"nmer": json.dumps(about)})
    arguments = {
        "check-system": ("own",),
        "noise": ("--noise", "own", "--input", clean, "--modality", "a", "--output", tmp_path / "noisy.npy"),
        "predict": ("--model", model, "--features", clean, "--out", tmp_path / "predictions.csv"),
    }[subcommand]
    error = failure(capsys, subcommand, *arguments, "--file", file)
    sort, decorator = ("noise kind", "noise_kind") if subcommand == "noise" else ("system", "system")
    assert error.startswith(f"error: {file}")
    assert expected.format(sort=sort, decorator=decorator) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nmr",), "Did you mean 'nmer'?"),
        (("men", "--options", "{"), "--options is not valid JSON"),
        (("men", "--options", "[1]"), "--options must be a JSON object"),
        (("men", "--dims", "null"), "--dims must be a JSON object"),
        (("men", "--options", '{"steps": 2}'), "unknown key 'steps'"),
        (("men", "--classes", "1"), "--classes"),
        (("men", "--dims", '{"x": 3}'), "--dims"),
        (("men", "--dims", '{"a": 0, "v": 1, "l": 1}'), "--dims"),
    ],
)
def test_a_wrong_call_of_check_system_ends_in_one_line(capsys, arguments, expected):
    error = failure(capsys, "check-system", *arguments)
    assert expected in error
    assert error.count("\n") == 1
