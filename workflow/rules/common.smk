# Hands the configuration over to the plan, where every decision is made and tested.
import os
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import ExecMode, Quietness

started = time.time()
sys.path.insert(0, str(HOME / "scripts"))

from nmer import ending
from nmer.devices import announce_slots
from nmer.errors import ConfigError, NmerError, sentence
from nmer.failures import reasons
from nmer.files import read_json, write_json
from nmer.plan import outdated
from nmer.plan.loading import merge, merged_message, read_config
from nmer.plan.plan import Plan
from nmer.plan.values import check_keys

try:
    for file in workflow.configfiles:
        check_keys(Path(file))
    # A module is handed a configuration in the place of the files.
    whole = merge(read_config([HOME / "config.yaml"], []), config)
    plan = Plan(whole, workflow.config_settings.config)
    plan.check_compared()
except ConfigError as error:
    given = list(map(Path, workflow.config_settings.configfiles))
    files = [Path(file) for file in workflow.configfiles if Path(file) not in given]
    entries = workflow.config_settings.config
    raise WorkflowError(merged_message(error, [*files, *given], entries)) from None
except (NmerError, OSError) as error:
    raise WorkflowError(sentence(error)) from None

# A step finds its modules beside it, and writes text as UTF-8, whatever the shell or a notebook has set.
for name in ("PYTHONSAFEPATH", "PYTHONIOENCODING"):
    os.environ.pop(name, None)
# Steps are called as `python ...`: they must find the interpreter that runs Snakemake, activated or not.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    NMER_HOME=str(HOME),
    PYTHONUTF8="1",
    MPLBACKEND="agg",
    # Results are renamed into place when they are whole, so a file system without locks will do.
    HDF5_USE_FILE_LOCKING=os.environ.get("HDF5_USE_FILE_LOCKING", "BEST_EFFORT"),
    # And they shall end when it dies, as orphans would write where the next call writes.
    NMER_OWNER=ending.owner(),
    # Idle threads sleep instead of spinning beside the neighbour's work.
    OMP_WAIT_POLICY="passive",
)

granted = workflow.global_resources
announce_slots(
    granted["gpu"].value if "gpu" in granted else None, scheduled=workflow.remote_exec
)


wildcard_constraints:
    experiment=plan.name,
    dataset="|".join(plan.config["datasets"]),
    corruption=plan.named(plan.corruptions),
    regime="incomplete|all_noisy",
    trained=plan.named(plan.trained_at),
    fold=r"\d+",
    table=r"\d",


# Memory and minutes of rules that read small files alone; more if a scheduler runs the job again.
light = {
    "mem_mb": lambda wildcards, attempt: 1000 * attempt,
    "runtime": lambda wildcards, attempt: 20 * attempt,
}


# The weights of runs stay on disk, or go once they are evaluated (config key training.keep_models).
kept = str if plan.keeps_models else temp
# So do noisy embeddings (config key noise.keep), once nothing is left that reads them.
kept_noise = str if plan.keeps_noise else temp


# What a run was planned with, for its jobs on other machines: they read the workflow again, maybe after an edit.
planned_codes = Path(".snakemake/nmer_codes.json")
if workflow.remote_exec and planned_codes.exists():
    plan.codes |= read_json(planned_codes)


class SnakemakeMetadata:
    """The records in .snakemake/ as the plan asks for them."""

    def __init__(self):
        self.records = FilePersistence(path=Path(".snakemake"))

    def knows(self, output):
        return os.path.exists(
            self.records._record_path(self.records._metadata_path, output)
        )

    def mark_outdated(self, output):
        made_otherwise = MetadataRecord(
            params=["made otherwise"], record_format_version=RECORD_FORMAT_VERSION
        )
        self.records._write_record(output, made_otherwise)

    def unmark(self, output):
        record = self.records._read_record(output)
        if record and not record.rule:
            self.records._delete_record(output)


# Results whose records in .snakemake/ are gone are compared with the records beside them, so that changed settings and
# code are noticed wherever results have come from. Jobs look at nothing but their own files.
if workflow.exec_mode == ExecMode.DEFAULT and Path("results").exists():
    for line in outdated.update(plan, SnakemakeMetadata()):
        logger.warning(line)


onstart:
    write_json(planned_codes, plan.codes)
    if "gpu" in granted and granted["gpu"].value:
        for note in plan.device_notes():
            print(note, file=sys.stderr)
    # Snakemake looks for jobs that are ready when one has finished, and a second after every look because of its limit of
    # 100 jobs a second; so each finished job adds another look a second, at all files of all jobs that wait.
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    by_default = limit and (limit.max_jobs, limit.timespan) == (100, 1)
    if by_default:
        workflow.scheduler.job_rate_limiter = None


onerror:
    # Snakemake shows the logs of failed jobs, but not with `--quiet rules`.
    if {Quietness.RULES, Quietness.ALL} & set(workflow.output_settings.quiet or ()):
        for reason in reasons(Path("results/logs"), since=started):
            print(reason, file=sys.stderr)
