"""Machine faults are reported, and a plain rerun gives the right results."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
from killing import assert_same, orphans, steps_of
from workflow_copy import Workflow, reduced

pytestmark = pytest.mark.slow
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a file system")


def output_of(finished: subprocess.CompletedProcess) -> str:
    """Return the output of a call, which must contain no traceback."""
    output = finished.stdout + finished.stderr
    assert "Traceback" not in output, output
    return output


def assert_reruns(workflow: Workflow, undisturbed: Workflow) -> None:
    """Assert that a plain rerun gives the undisturbed results and that nothing is due afterwards."""
    finished = workflow.snakemake()
    assert finished.returncode == 0, output_of(finished)
    assert_same(workflow, undisturbed)
    assert workflow.due() == {}


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return reduced(tmp_path)


@pytest.fixture
def finished(undisturbed, tmp_path) -> Workflow:
    """A finished copy, to be damaged."""
    copy = Workflow.__new__(Workflow)
    copy.folder = tmp_path / "nmer"
    shutil.copytree(undisturbed.folder, copy.folder)
    return copy


@pytest.fixture
def small_disk(workflow):
    """Results on a separate file system; a function that remounts it with other options."""
    results = workflow.folder / "results"
    results.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", results], check=True)

    yield mount
    subprocess.run(["umount", results], check=True)


@is_root
def test_a_full_disk_is_reported_at_every_step_and_a_rerun_with_space_finishes(workflow, small_disk, undisturbed):
    small_disk("size=48k")
    messages = set()
    # With each size the workflow gets a little further.
    for size in ("48k", "200k", "600k", "900k", "1200k", "1500k", "2000k"):
        small_disk(f"remount,size={size}")
        output = output_of(workflow.snakemake())
        messages |= {line.partition(": No space left")[0] for line in output.splitlines() if "No space left" in line}
    assert len(messages) > 2, messages
    small_disk("remount,size=100m")
    assert_reruns(workflow, undisturbed)


@is_root
def test_a_read_only_results_folder_is_reported(workflow, small_disk, undisturbed):
    small_disk("size=100m")
    assert workflow.snakemake("results/features/tiny_mosei.h5").returncode == 0
    small_disk("remount,ro")
    finished = workflow.snakemake()
    assert finished.returncode != 0
    assert "Read-only file system" in output_of(finished)
    small_disk("remount,rw")
    assert_reruns(workflow, undisturbed)


@pytest.mark.parametrize(
    ("damaged", "due"),
    [
        ("results/features/tiny_mosei.h5", "results/noisy/tiny_mosei/gaussian_-10dB.csv"),
        ("results/noisy/tiny_mosei/gaussian_-10dB.h5", "results/tiny/scores/tiny_mosei/men/clean/gaussian_-10dB.csv"),
        (
            "results/tiny/runs/tiny_mosei/men/clean/fold1/model.safetensors",
            "results/tiny/scores/tiny_mosei/men/clean/gaussian_-10dB.csv",
        ),
    ],
)
def test_a_damaged_file_is_detected_when_read_and_the_remedy_works(finished, undisturbed, damaged, due):
    path = finished.folder / damaged
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (finished.folder / due).unlink()
    output = output_of(run := finished.snakemake(due))
    assert run.returncode != 0
    assert f"error: {damaged}: is damaged or was changed after it was made" in output
    assert f"Delete {damaged} and run again." in output
    path.unlink()
    assert finished.snakemake(due).returncode == 0
    assert_reruns(finished, undisturbed)


def test_a_loss_that_is_not_finite_is_reported_and_a_rerun_with_another_rate_finishes(workflow, undisturbed):
    epochs = "      constant_epochs: 8\n"
    with workflow.edited("config.yaml", epochs, epochs + "      learning_rate: 1.0e+30\n"):
        finished = workflow.snakemake()
    assert finished.returncode != 0
    assert "Lower training.learning_rate or its weight." in output_of(finished)
    assert_reruns(workflow, undisturbed)


def test_a_terminated_snakemake_exits_and_leaves_no_lock(workflow, undisturbed):
    process = workflow.start()
    while not steps_of(process.pid):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=120) != 0
    assert orphans(workflow) == []
    assert_reruns(workflow, undisturbed)


def test_terminated_steps_end_within_the_grace_period_and_report_it(workflow, undisturbed):
    process = workflow.start()
    # Before it announces itself, a training may not yet handle signals.
    while not list(workflow.folder.glob("results/tiny/checkpoints/*/job.json")):
        time.sleep(0.05)
    for number in steps_of(process.pid):
        os.kill(number, signal.SIGTERM)
    process.wait(timeout=120)
    assert "error: stopped by SIGTERM" in (workflow.folder / "output").read_text()
    assert_reruns(workflow, undisturbed)


def test_a_clock_set_back_is_reported_and_touching_future_files_fixes_it(workflow, undisturbed):
    assert workflow.snakemake("noisy").returncode == 0
    tomorrow = time.time() + 86400
    for path in [workflow.folder, *workflow.folder.rglob("*")]:
        os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
    finished = workflow.snakemake()
    assert finished.returncode != 0
    assert "could indicate a clock skew problem" in output_of(finished)
    subprocess.run(["find", ".", "-newermt", "now", "-exec", "touch", "{}", "+"], cwd=workflow.folder, check=True)
    assert_reruns(workflow, undisturbed)


def test_the_second_of_two_concurrent_calls_is_refused_and_the_first_is_not_disturbed(workflow, undisturbed):
    process = workflow.start()
    while not steps_of(process.pid):
        time.sleep(0.05)
    second = workflow.snakemake()
    assert second.returncode != 0
    assert "LockException" in output_of(second)
    assert process.wait(timeout=300) == 0
    assert_reruns(workflow, undisturbed)


def test_a_memory_limit_stops_the_jobs_that_exceed_it(workflow, undisturbed):
    assert workflow.snakemake("noisy").returncode == 0
    limited = workflow.snakemake(prefix=("prlimit", f"--as={800 * 2**20}"))
    assert limited.returncode != 0
    assert_reruns(workflow, undisturbed)
