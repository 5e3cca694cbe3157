"""Steps take one JSON string and end a user's error in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from nmer import command
from nmer.errors import ConfigError, DataError
from nmer.fingerprint import SCRIPTS


def test_settings_are_a_json_object():
    assert command.settings('{"dataset": "mosi", "folds": [1, 2]}') == {"dataset": "mosi", "folds": [1, 2]}


@pytest.mark.parametrize("text", ["{", "", "[1]", "3", "null", '"text"'])
def test_settings_other_than_a_json_object_are_refused(text):
    with pytest.raises(ConfigError, match="--settings"):
        command.settings(text)


def test_a_user_error_ends_in_one_line_and_status_1(capsys):
    def step():
        raise DataError("x.h5: cannot be read.")

    with pytest.raises(SystemExit) as ending:
        command.run(step)
    output = capsys.readouterr()
    assert (ending.value.code, output.out, output.err) == (1, "", "error: x.h5: cannot be read.\n")


@pytest.mark.parametrize("make", [lambda: np.empty(2**60, np.uint8), lambda: torch.empty(2**60, dtype=torch.uint8)])
def test_too_little_memory_ends_in_one_line_with_a_remedy(capsys, make):
    with pytest.raises(SystemExit) as ending:
        command.run(make)
    error = capsys.readouterr().err
    assert (ending.value.code, error.count("\n")) == (1, 1)
    assert error.startswith("error: not enough memory. Run fewer jobs at once (--cores)")
    assert "GPU" not in error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which 9 MiB "
            "is free.\nSee documentation for Memory Management."
        ),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        torch.OutOfMemoryError("HIP out of memory. Tried to allocate 20.00 MiB."),
    ],
    ids=lambda error: str(error)[:40],
)
def test_too_little_memory_of_a_gpu_names_the_gpus_slots(capsys, error):
    def step():
        raise error

    with pytest.raises(SystemExit) as ending:
        command.run(step)
    output = capsys.readouterr().err
    assert (ending.value.code, output.count("\n")) == (1, 1)
    assert output.startswith("error: not enough GPU memory. ")
    assert "--resources gpu=N" in output
    assert "--cores" not in output


def test_an_interruption_is_reported_in_one_line(capsys):
    def step():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ending:
        command.run(step)
    assert (ending.value.code, capsys.readouterr().err) == (130, "error: stopped by Ctrl-C. Run again to resume.\n")


def test_another_error_of_torch_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        command.run(lambda: torch.ones(2, 3) @ torch.ones(2, 3))


def test_a_programming_error_keeps_its_traceback():
    def step():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.run(step)


def test_a_steps_help_shows_its_docstring_as_written(capsys):
    with pytest.raises(SystemExit):
        command.parser("First line.\n\n  An equation: x = y").parse_args(["--help"])
    assert "First line.\n\n  An equation: x = y" in capsys.readouterr().out


COLLECTION = """
import gc, sys
sys.argv[0] = {script!r}
from nmer import command
print(gc.isenabled())
command.run(lambda: print(gc.isenabled(), gc.get_freeze_count() > 0))
print(gc.isenabled())
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (str(SCRIPTS / "train.py"), ["False", "True True", "True"]),
        ("/usr/bin/notebook.py", ["True", "True False", "True"]),
        (str(SCRIPTS / "-c"), ["True", "True False", "True"]),
        ("", ["True", "True False", "True"]),
    ],
)
def test_only_a_step_suspends_garbage_collection_and_only_while_it_imports(script, expected):
    program = COLLECTION.format(script=script)
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}
    )
    assert finished.stdout.splitlines() == expected, finished.stderr
