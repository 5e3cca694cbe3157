"""Find tables and figures of an experiment that its configuration does not make any more."""

from __future__ import annotations

from nmer.errors import listed
from nmer.plan.jobs import jobs
from nmer.plan.plan import Plan

SHOWN = 5
RECORD = ".made.json"


def leftovers(plan: Plan) -> list[str]:
    """List the stems of tables and figures that an earlier configuration made, relative to the experiment's folder.

    Files without a record of what made them are the user's and are left out.
    """
    current = {job.output.relative_to(plan.folder).with_suffix("") for job in jobs(plan) if job.stage == "results"}
    found = set()
    for folder in ("tables", "figures"):
        for record in sorted((plan.folder / folder).glob(f".*{RECORD}")):
            made = record.with_name(record.name.removeprefix(".").removesuffix(RECORD))
            if made.exists():
                found.add(made.relative_to(plan.folder).with_suffix(""))
    return sorted(map(str, found - current))


def leftovers_sentence(plan: Plan) -> str:
    """Return a sentence on these files; empty if there are none."""
    if not (names := leftovers(plan)):
        return ""
    return (
        f"{plan.folder} also contains files of an earlier configuration, which the report does not show: "
        f"{listed(names[:SHOWN], len(names))}. Delete them if you do not need them."
    )
