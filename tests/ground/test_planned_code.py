"""A step runs only with the code with which its run was planned."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmer import fingerprint

STEP = """
from __future__ import annotations
import time
from pathlib import Path
from nmer import command, files, plugins
from nmer.metrics import VALUE

def main():
    parser = command.parser("A step.")
    parser.add_argument("--pause", default="")
    parser.add_argument("--plugin", default="")
    arguments = parser.parse_args()
    def pause(name):
        if arguments.pause == name:
            Path("waiting").touch()
            while Path("waiting").exists():
                time.sleep(0.01)
    pause("before loading")
    if arguments.plugin:
        kinds = plugins.Registry("noise kind", "noise_kind", "nmer.kinds")
        kinds.path("mine", arguments.plugin)
        from nmer.lazy import LAZY
    pause("before writing")
    files.write_text("result.txt", str(VALUE))

command.run(main)
"""


class Run:
    """A small repository with one step, which is called like the workflow calls steps."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scripts = folder, folder / "scripts"
        package = self.scripts / "nmer"
        package.mkdir(parents=True)
        for path in (fingerprint.SCRIPTS / "nmer").glob("*.py"):
            shutil.copy(path, package)
        (package / "metrics.py").write_text("VALUE = 1\n")
        (package / "lazy.py").write_text("LAZY = 1\n")
        (self.scripts / "step.py").write_text(STEP)
        (folder / "mine.py").write_text("MINE = 1\n")
        self.plan()

    def plan(self) -> None:
        program = "import sys; sys.path.insert(0, 'scripts'); from pathlib import Path; from nmer import planned_code;"
        program += "print(planned_code.hand_over('step.py', [Path('mine.py')]))"
        self.code = self._run("-c", program).stdout.strip()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    def step(self, *arguments: str) -> subprocess.CompletedProcess:
        return self._run("scripts/step.py", "--code", self.code, *arguments)

    def start(self, pause: str, *arguments: str) -> subprocess.Popen:
        """Start the step and wait until it pauses at a place."""
        command = [sys.executable, "scripts/step.py", "--code", self.code, "--pause", pause, *arguments]
        process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        while not (self.folder / "waiting").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        return process

    def finish(self, process: subprocess.Popen) -> str:
        (self.folder / "waiting").unlink()
        return process.communicate(timeout=60)[1]

    def edit(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    @property
    def result(self) -> str | None:
        path = self.folder / "result.txt"
        return path.read_text() if path.exists() else None

    def leftovers(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def assert_refused(output: str) -> None:
    assert output.startswith("error: ")
    assert output.endswith("the code changed since the run was planned. Run again.\n")
    assert output.count("\n") == 1


def test_a_step_whose_code_is_as_planned_writes_its_output(run):
    finished = run.step("--plugin", "mine.py")
    assert (finished.returncode, finished.stderr, run.result) == (0, "", "1")


def test_a_step_called_without_a_fingerprint_is_not_checked(run):
    run.edit("scripts/nmer/metrics.py", "VALUE = 2\n")
    assert run._run("scripts/step.py").returncode == 0
    assert run.result == "2"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scripts/nmer/metrics.py", "VALUE = 2\n"),
        ("scripts/nmer/metrics.py", "VALUE = (\n"),
        ("scripts/nmer/metrics.py", "from nmer.none import VALUE\n"),
        ("scripts/nmer/lazy.py", "LAZY = 2\n"),
        ("scripts/step.py", STEP.replace("str(VALUE)", "str(2 * VALUE)")),
        ("mine.py", "MINE = 2\n"),
        ("mine.py", None),
        ("scripts/nmer/metrics.py", None),
    ],
)
def test_a_step_whose_code_changed_before_it_starts_refuses_in_one_line(run, name, text):
    if text is None:
        (run.folder / name).unlink()
    else:
        run.edit(name, text)
    finished = run.step()
    assert finished.returncode == 1
    assert_refused(finished.stderr)
    assert run.result is None


def test_a_step_whose_messages_changed_before_it_starts_runs(run):
    run.edit("scripts/nmer/metrics.py", '"""Values."""\nVALUE = 1  # one\n')
    assert run.step().returncode == 0


@pytest.mark.parametrize("pause", ["before loading", "before writing"])
def test_a_step_whose_code_changes_while_it_runs_keeps_the_old_output_and_leaves_nothing(run, pause):
    run.edit("result.txt", "old")
    process = run.start(pause)
    run.edit("scripts/nmer/metrics.py", "VALUE = 2\n")
    assert_refused(run.finish(process))
    assert process.returncode == 1
    assert run.result == "old"
    assert run.leftovers() == []


def test_an_edit_that_is_reverted_before_another_module_is_loaded_has_no_effect(run):
    process = run.start("before writing", "--plugin", "mine.py")
    run.edit("scripts/nmer/metrics.py", "VALUE = 2\n")
    run.edit("scripts/nmer/metrics.py", "VALUE = 1\n")
    assert run.finish(process) == ""
    assert run.result == "1"


def test_a_module_that_is_loaded_between_an_edit_and_its_reversal_is_refused(run):
    # The module reverts the edit itself when it is loaded, before another check could notice it.
    undo = "from pathlib import Path\nPath(__file__).write_text('LAZY = 1\\n')\n"
    process = run.start("before loading", "--plugin", "mine.py")
    run.edit("scripts/nmer/lazy.py", undo)
    output = run.finish(process)
    assert (run.folder / "scripts/nmer/lazy.py").read_text() == "LAZY = 1\n"
    assert_refused(output)
    assert run.result is None


@pytest.mark.parametrize("text", ["", "{", "3"])
def test_an_invalid_fingerprint_is_refused_in_one_line(run, text):
    run.code = text
    finished = run.step()
    assert (finished.returncode, finished.stderr.count("\n")) == (1, 1)
    assert finished.stderr.startswith("error: --code: ")


def test_the_check_takes_a_few_hundredths_of_a_second():
    """Like the workflow, reuse the analysis from planning the run."""
    arguments = fingerprint.SCRIPTS / "train.py", (fingerprint.SCRIPTS / "nmer/systems/nmer.py",)
    fingerprint.fingerprint(arguments[0].name, arguments[1])
    fingerprint.forget()
    started = time.perf_counter()
    fingerprint.fingerprint(arguments[0].name, arguments[1])
    assert time.perf_counter() - started < 0.25  # on a busy machine; 0.02 on an idle one
    assert json.loads((fingerprint.SCRIPTS / "__pycache__" / "fingerprints.json").read_text())["sources"]
