"""The profile for Slurm on a real Slurm: requested resources, results equal to a local run, and lost jobs."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

from cluster import GPUS_PER_NODE, NODES
from sabotage import cancel_job, kill_process, lose_node, once_half_trained
from slurm_workflow import SLURM, Job, SlurmWorkflow, jobs

RESULTS = ("tables/*", "scores/**/*.*", "**/history.csv", "figures/*.csv")


def same_results(one: Path, other: Path) -> None:
    """Assert that tables, scores, predictions and histories are equal byte for byte."""
    one, other = (folder / "results" / "cluster" for folder in (one, other))
    names = [path.relative_to(one) for pattern in RESULTS for path in one.glob(pattern)]
    assert len(names) > 15
    assert filecmp.cmpfiles(one, other, names, shallow=False)[1:] == ([], [])


def test_results_equal_a_local_run(local_run, slurm_run):
    same_results(local_run.folder, slurm_run.workflow.folder)


def test_every_step_is_a_job_that_succeeds_at_the_first_attempt(slurm_run):
    assert {job.state for job in slurm_run.jobs} == {"COMPLETED"}
    assert len(slurm_run.jobs) == len({job.name for job in slurm_run.jobs})


def job(found: list[Job], part: str) -> Job:
    """Return the only job whose name contains a text."""
    [only] = [job for job in found if part in job.name]
    return only


def test_a_training_requests_a_gpu_memory_time_and_processors(slurm_run):
    training = job(slurm_run.jobs, "nmer_incomplete_gaussian_-10dB_1")
    assert training.gpus == "gres:gpu:1"
    assert (training.memory, training.minutes, training.processors) == ("1500M", "4:00:00", 1)


def test_no_other_step_requests_a_gpu(slurm_run):
    asking = {job.name for job in slurm_run.jobs if job.gpus != "N/A"}
    assert asking == {
        job.name for job in slurm_run.jobs if "pretrain" in job.name or "_men_" in job.name or "_nmer_" in job.name
    }


def test_steps_of_seconds_share_a_job(slurm_run):
    assert job(slurm_run.jobs, "calibrate").name == job(slurm_run.jobs, "corrupt").name
    assert job(slurm_run.jobs, "corrupt").processors == 2
    assert job(slurm_run.jobs, "collect_scores").name == job(slurm_run.jobs, "draw_figure").name


def test_gpu_jobs_never_exceed_the_gpus(slurm_run):
    busy = [[(step.node, step.devices) for step in moment] for moment in slurm_run.moments]
    gpus = {(node, str(device)) for node in NODES for device in range(GPUS_PER_NODE)}
    assert {place for moment in busy for place in moment} == gpus
    assert all(len(moment) == len(set(moment)) for moment in busy)
    # All GPUs were in use and more jobs waited: the GPUs were the limit.
    assert max(map(len, busy)) == len(gpus)
    assert slurm_run.waited


LOST = {
    "men/clean": ("rule_train_clean_wildcards_cluster_tiny_iemocap_men_1", lose_node, "NODE_FAIL"),
    "nmer/incomplete": (
        "rule_train_wildcards_cluster_tiny_iemocap_nmer_incomplete_gaussian_-10dB_1",
        cancel_job,
        "CANCELLED",
    ),
    "nmer/all_noisy": (
        "rule_train_wildcards_cluster_tiny_iemocap_nmer_all_noisy_gaussian_-10dB_1",
        kill_process,
        "FAILED",
    ),
}
"""Training -> name of its job, the failure, and its final state in Slurm."""


def test_lost_jobs_are_retried_to_the_same_results(local_run, tmp_path, monkeypatch):
    workflow = SlurmWorkflow(tmp_path / "nmer")
    for name in ("corpora", "features", "calibration", "noisy"):
        shutil.copytree(local_run.folder / "results" / name, workflow.folder / "results" / name)
    monkeypatch.chdir(workflow.folder)
    before = {job.number for job in jobs()}
    for training, (_, action, _) in LOST.items():
        once_half_trained(training, action)
    finished = workflow.submit(*SLURM)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    since = [job for job in jobs() if job.number not in before]
    for name, _, end in LOST.values():
        attempts = [job for job in since if job.name == name]
        assert [job.state for job in attempts] == [end, "COMPLETED"]
        assert [job.memory for job in attempts] == ["1500M", "3000M"]
        assert [job.minutes for job in attempts] == ["4:00:00", "8:00:00"]
    same_results(local_run.folder, workflow.folder)
