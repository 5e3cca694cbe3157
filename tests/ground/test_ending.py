"""A step that is terminated, or whose owner dies, cleans up and reports it in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmer import ending
from nmer.ending import Stopped, stoppable

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
STEP = """
import sys, time
from pathlib import Path
from nmer import command, files

def main():
    with files.atomic_path("result.txt") as temporary:
        temporary.write_text("half")
        Path("started").touch()
        time.sleep(60)

command.run(main)
"""


@pytest.fixture
def step(tmp_path):
    """Return a function that starts a step that writes for a minute and waits until it has begun."""

    def start(owner: str = "", path: str = "") -> subprocess.Popen:
        python_path = os.pathsep.join(filter(None, (path, str(SCRIPTS))))
        environment = os.environ | {"PYTHONPATH": python_path, ending.OWNER_VARIABLE: owner}
        process = subprocess.Popen(
            [sys.executable, "-c", STEP], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        while not (tmp_path / "started").exists() and process.poll() is None:
            time.sleep(0.02)
        return process

    return start


def as_owner(process: subprocess.Popen) -> str:
    return ending.owner().replace(str(os.getpid()), str(process.pid), 1)


def test_a_terminated_step_removes_its_temporary_file_and_reports_it(step, tmp_path):
    process = step()
    process.terminate()
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert process.stderr.read().count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["started"]


def test_a_step_ends_when_its_owner_dies(step, tmp_path):
    owner = subprocess.Popen(["sleep", "60"])
    process = step(as_owner(owner))
    assert process.poll() is None
    owner.kill()  # not reaped: a killed process may stay in the process table
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["started"]
    owner.wait()


def test_a_step_whose_owner_died_before_its_start_does_not_start(step, tmp_path):
    owner = subprocess.Popen(["true"])
    owner.wait()
    assert step(as_owner(owner)).wait(timeout=10) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_an_owner_in_another_container_is_not_matched_to_a_local_process(step):
    owner = subprocess.Popen(["true"])
    owner.wait()
    process = step(f"{owner.pid} pid:[1]")
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_second_signal_does_not_interrupt_cleanup_and_an_alarm_ends_it_if_it_hangs():
    before = signal.getsignal(signal.SIGTERM)

    def hang():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            assert 0 < signal.alarm(0) <= ending.GRACE_SECONDS

    with pytest.raises(Stopped), stoppable():
        hang()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("refusal", ["raise OSError(38, 'Function not implemented')", "raise PermissionError(1, 'x')"])
def test_if_the_kernel_cannot_report_a_death_the_owner_is_polled(step, tmp_path, refusal):
    patch = f"import os\ndef pidfd_open(*_arguments): {refusal}\nos.pidfd_open = pidfd_open\n"
    (tmp_path / "sitecustomize.py").write_text(patch)
    owner = subprocess.Popen(["sleep", "60"])
    process = step(as_owner(owner), path=str(tmp_path))
    assert process.poll() is None
    owner.kill()  # not reaped
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert "Traceback" not in process.stderr.read()
    owner.wait()


def test_a_step_runs_without_pidfd_open(step, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os\ndel os.pidfd_open\n")
    process = step(ending.owner(), path=str(tmp_path))
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
