"""Find tables and figures of an experiment that its configuration does not make any more."""

from __future__ import annotations

from nmer.digests import record_path
from nmer.errors import listed
from nmer.plan.jobs import jobs
from nmer.plan.plan import Plan

SHOWN = 5


def leftovers(plan: Plan) -> list[str]:
    """List the stems of tables and figures that an earlier configuration made, relative to the experiment's folder.

    Files without a record of what made them are the user's and are left out.
    """
    current = {job.output.relative_to(plan.folder).with_suffix("") for job in jobs(plan) if job.stage == "results"}
    files = [path for folder in ("tables", "figures") for path in (plan.folder / folder).glob("*")]
    found = {path.relative_to(plan.folder).with_suffix("") for path in files if record_path(path).exists()}
    return sorted(map(str, found - current))


def leftovers_sentence(plan: Plan) -> str:
    """Return a sentence on these files; empty if there are none."""
    if not (names := leftovers(plan)):
        return ""
    return (
        f"{plan.folder} also contains files of an earlier configuration, which the report does not show: "
        f"{listed(names[:SHOWN], len(names))}. Delete them if you do not need them."
    )
