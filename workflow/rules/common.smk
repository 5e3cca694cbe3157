# Passes the configuration to the plan, which makes every decision and is tested.
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
from nmer.plan.leftovers import leftovers_sentence
from nmer.plan.loading import merge, merged_message, read_config
from nmer.plan.plan import Plan
from nmer.plan.values import check_keys

try:
    for file in workflow.configfiles:
        check_keys(Path(file))
    # A Snakemake module receives a configuration instead of files.
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

# Steps find their modules next to them and write text as UTF-8, regardless of the environment.
for name in ("PYTHONSAFEPATH", "PYTHONIOENCODING"):
    os.environ.pop(name, None)
# Steps are called as `python ...`: they must find the interpreter that runs Snakemake, activated or not.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    NMER_HOME=str(HOME),
    PYTHONUTF8="1",
    MPLBACKEND="agg",
    # Results are renamed into place when complete, so HDF5 needs no file locks.
    HDF5_USE_FILE_LOCKING=os.environ.get("HDF5_USE_FILE_LOCKING", "BEST_EFFORT"),
    # Steps exit with Snakemake; orphans would overwrite the next run's files.
    NMER_OWNER=ending.owner(),
    # Idle threads sleep instead of spinning while other jobs compute.
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
    fold=plan.named(plan.every_fold),
    table=r"\d",


# Memory and minutes of rules that read small files alone; more if a scheduler runs the job again.
light = {
    "mem_mb": lambda wildcards, attempt: 1000 * attempt,
    "runtime": lambda wildcards, attempt: 20 * attempt,
}


# The weights of runs are kept, or removed once they are evaluated (config key training.keep_models).
kept = str if plan.keeps_models else temp
# Noisy embeddings likewise (config key noise.keep), after the last job that reads them.
kept_noise = str if plan.keeps_noise else temp


# The code of the plan, for jobs on other machines, which read the workflow again, possibly after an edit.
planned_codes = Path(".snakemake/nmer_codes.json")
if workflow.remote_exec and planned_codes.exists():
    plan.codes |= read_json(planned_codes)


class SnakemakeMetadata:
    """Access to the records in .snakemake/ for the plan."""

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


# Results without records in .snakemake/ are compared with the records next to them, so that changed settings and code
# are detected in copied results. Jobs only read their own files.
if workflow.exec_mode == ExecMode.DEFAULT and Path("results").exists():
    for line in outdated.update(plan, SnakemakeMetadata()):
        logger.warning(line)


onstart:
    write_json(planned_codes, plan.codes)
    if "gpu" in granted and granted["gpu"].value:
        for note in plan.device_notes():
            print(note, file=sys.stderr)
    # Snakemake searches for ready jobs when a job finishes and, because of its limit of 100 jobs per second, again one
    # second after every search. So each finished job adds a search per second over all files of all waiting jobs.
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    by_default = limit and (limit.max_jobs, limit.timespan) == (100, 1)
    if by_default:
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    if left_over := leftovers_sentence(plan):
        print(left_over, file=sys.stderr)


onerror:
    # Snakemake prints the logs of failed jobs, but not with `--quiet rules`.
    if {Quietness.RULES, Quietness.ALL} & set(workflow.output_settings.quiet or ()):
        for reason in reasons(Path("results/logs"), since=started):
            print(reason, file=sys.stderr)
