"""Rename the regimes in results of an earlier version, so that nothing has to be computed again.

Up to version 0.1 the regimes were ``six`` and ``all``, and the averaged row was ``avg6``. Folders, tables, HDF5 columns
and records of an experiment are renamed; no number changes.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from nmer.digests import file_digest, record_path, recorded
from nmer.errors import DataError
from nmer.files import atomic_path, write_gzip, write_json, write_text
from nmer.plan.jobs import jobs
from nmer.plan.outdated import digest_of, made_by
from nmer.plan.paths import RESULTS
from nmer.plan.plan import Plan

FORMER_REGIMES = {"six": "incomplete", "all": "all_noisy"}
FORMER_AVERAGES = {"avg6": "average"}
COLUMNS = {"regime": FORMER_REGIMES, "condition": FORMER_AVERAGES}
"""Columns of tables whose values are renamed."""

METADATA = Path(".snakemake/metadata")


def rename(plan: Plan, accept_code: bool = False) -> list[str]:
    """Rename the results of the plan's experiment. Returns sentences that summarise the changes.

    accept_code: also record the current code as the code of the results, keeping the former one in the records. Without
    it, results of code that has changed since are due, as after any update.
    Raises DataError if results exist under both names.
    """
    moved = [(old, new) for old, new in _folders(plan.name) if old.exists()]
    for old, new in moved:
        if new.exists():
            raise DataError(f"{new}: already exists next to {old}. Delete one of them and run again.")
    for old, new in moved:
        old.rename(new)
    files = [path for path in sorted((RESULTS / plan.name).rglob("*")) if path.is_file()]
    changed = {path for path in files if not path.name.startswith(".") and _rename_values(path)}
    records = {path: record for path in files if (record := recorded(path)) is not None}
    # Update the digests of rewritten files first, because the inputs of other records refer to them.
    for path in records.keys() & changed:
        if "sha256" in records[path]:
            records[path]["sha256"] = file_digest(path)
            write_json(record_path(path), records[path])
    rewritten = {str(path) for path in changed}
    for path, record in records.items():
        write_json(record_path(path), _renamed_record(record, rewritten))
    accepted = _accept_code(plan) if accept_code else 0
    # Snakemake knows the files under their former names and inputs, so drop its records in favour of ours.
    for path in files:
        for known in _metadata(path):
            known.unlink(missing_ok=True)
    lines = [f"Renamed {len(moved)} folders and {len(changed)} files of experiment '{plan.name}'."]
    if accepted:
        lines.append(f"Recorded the current code for {accepted} jobs; their former code is kept in the records.")
    return lines


def _folders(experiment: str) -> Iterator[tuple[Path, Path]]:
    """Yield every folder of a regime with its former and new name."""
    for root in (RESULTS / experiment, RESULTS / "logs" / experiment, RESULTS / "benchmarks" / experiment):
        for stage in ("runs", "scores"):
            for old, new in FORMER_REGIMES.items():
                yield from ((path, path.with_name(new)) for path in sorted(root.glob(f"{stage}/*/*/{old}")))


def _rename_values(path: Path) -> bool:
    """Rename the values in a table or an HDF5 file of columns. Returns whether anything changed."""
    if path.suffix == ".h5":
        return _rename_columns(path)
    if path.suffix == ".csv":
        text, write = path.read_text(encoding="utf-8"), write_text
    elif path.name.endswith(".csv.gz"):
        text, write = gzip.decompress(path.read_bytes()).decode("utf-8"), write_gzip
    else:
        return False
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or not COLUMNS.keys() & set(rows[0]):
        return False
    places = [(rows[0].index(name), names) for name, names in COLUMNS.items() if name in rows[0]]
    for row in rows[1:]:
        for place, names in places:
            row[place] = names.get(row[place], row[place])
    renamed = io.StringIO()
    csv.writer(renamed, lineterminator="\n").writerows(rows)
    if renamed.getvalue() == text:
        return False
    times = path.stat()
    write(path, renamed.getvalue())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return True


def _rename_columns(path: Path) -> bool:
    with h5py.File(path) as file:
        columns = {f"cell/{name}": names for name, names in COLUMNS.items() if f"cell/{name}" in file}
        values = {name: file[name].asstr()[()].tolist() for name in columns}
    renamed = {name: [columns[name].get(value, value) for value in own] for name, own in values.items()}
    if renamed == values:
        return False
    times = path.stat()
    with atomic_path(path) as temporary:
        temporary.write_bytes(path.read_bytes())
        with h5py.File(temporary, "r+") as file:
            for name, own in renamed.items():
                file[name][...] = own
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return True


def _renamed_record(record: dict[str, Any], changed: set[str]) -> dict[str, Any]:
    """Return a record with current paths, regime and digests of inputs."""
    settings = record.get("settings", {})
    if settings.get("regime") in FORMER_REGIMES:
        settings["regime"] = FORMER_REGIMES[settings["regime"]]
    inputs = {_renamed(path): digest for path, digest in record.get("inputs", {}).items()}
    inputs |= {path: digest for path in inputs if path in changed and (digest := digest_of(path))}
    outputs = [_renamed(path) for path in record.get("outputs", [])]
    return record | {"settings": settings, "inputs": dict(sorted(inputs.items())), "outputs": sorted(outputs)}


def _renamed(path: str) -> str:
    """Return a path in ``runs`` or ``scores`` with the new name of its regime: ``.../runs/dataset/system/regime``."""
    parts = list(Path(path).parts)
    for stage in ("runs", "scores"):
        place = parts.index(stage) + 3 if stage in parts else len(parts)
        if place < len(parts) - 1:
            parts[place] = FORMER_REGIMES.get(parts[place], parts[place])
    return str(Path(*parts))


def _accept_code(plan: Plan) -> int:
    accepted = 0
    for job in jobs(plan):
        record = recorded(job.output)
        if not (job.done and record):
            continue
        step, _settings = made_by(plan, job)
        planned = json.loads(plan.code(step, job.wildcards))
        if record.get("code") == planned:
            continue
        accepted += 1
        for output in record.get("outputs", [str(job.output)]):
            if own := recorded(output):
                write_json(record_path(output), own | {"code": planned, "accepted_code": own.get("code")})
    return accepted


def _metadata(path: Path) -> Iterator[Path]:
    """Yield Snakemake's records of a file, under its new and former name."""
    for name in {str(path), *(str(path).replace(f"/{new}/", f"/{old}/") for old, new in FORMER_REGIMES.items())}:
        encoded = base64.urlsafe_b64encode(name.encode()).decode()
        # Snakemake splits names that are too long for one folder entry.
        parts = [encoded[at : at + 254] for at in range(0, len(encoded), 254)]
        yield METADATA.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
