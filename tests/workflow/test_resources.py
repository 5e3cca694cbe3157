"""Resources of every rule: memory and time that grow with attempts, GPUs, threads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, ResourceSettings, StorageSettings

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILES = REPOSITORY / "workflow" / "profiles"
ON_A_GPU = {"pretrain", "train_clean", "train", "train_elsewhere", "evaluate", "evaluate_clean", "evaluate_elsewhere"}
WILDCARDS = SimpleNamespace(dataset="tiny_iemocap", experiment="tiny", corruption="gaussian_-10dB", modality="a")


@pytest.fixture(scope="module")
def submitted() -> dict:
    """The rules whose jobs are submitted to a scheduler, by name."""
    before = Path.cwd(), dict(os.environ)
    try:
        with SnakemakeApi() as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(config={"experiment": "tiny", "compute": {"device": "gpu"}}),
                storage_settings=StorageSettings(),
                snakefile=REPOSITORY / "Snakefile",
                workdir=REPOSITORY,
            )._workflow
            return {rule.name: rule for rule in workflow.rules if rule.name not in workflow._localrules}
    finally:
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])


def requested(rule, resource: str, attempt: int) -> int:
    """Return the resource that a rule's job requests in an attempt."""
    return rule.resources[resource].evaluate(WILDCARDS, attempt=attempt).value


def test_every_job_requests_memory_and_time_and_more_of_both_in_every_attempt(submitted):
    assert len(submitted) > 15
    # The requests of an extraction depend on its raw media; this experiment has none.
    of_tiny = {name: rule for name, rule in submitted.items() if not name.startswith("extract")}
    for name, rule in of_tiny.items():
        for resource, least in (("mem_mb", 1000), ("runtime", 10)):
            first, second, third = (requested(rule, resource, attempt) for attempt in (1, 2, 3))
            assert least <= first < second < third, (name, resource)


def test_only_trainings_and_evaluations_request_a_gpu(submitted):
    requesting = {name: rule for name, rule in submitted.items() if "gpu" in rule.resources}
    assert set(requesting) == ON_A_GPU
    assert {requested(rule, "gpu", attempt=1) for rule in requesting.values()} == {1}


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*/config.yaml")), ids=lambda path: path.parent.name)
def test_a_profile_groups_rules_that_exist_and_never_one_on_a_gpu(submitted, path):
    groups = yaml.safe_load(path.read_text()).get("groups", {})
    assert set(groups) <= set(submitted) - ON_A_GPU


def test_a_job_uses_the_configured_threads_even_with_fewer_cores(fresh_workflow):
    with fresh_workflow.edited("config.yaml", "  threads: 1\n", "  threads: 2\n"):
        finished = fresh_workflow.snakemake("--dry-run", "--printshellcmds", cores=1)
    commands = re.findall(r"/scripts/(?:train|evaluate)\.py.*?>", finished.stdout, re.DOTALL)
    assert len(commands) > 5, finished.stderr
    assert all(re.search(r"--threads 2\b", command) for command in commands)
