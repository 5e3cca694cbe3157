"""Provenance of the files behind a report, from their records, never from the current configuration."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from nmer.digests import recorded
from nmer.errors import listed

STAGES = {
    "generate_corpus.py": "corpora",
    "build_features.py": "features",
    "calibrate.py": "calibration",
    "corrupt.py": "noise",
    "train.py": "training",
    "evaluate.py": "evaluation",
}
"""Steps whose settings are shown, with their headings."""


class Recorded:
    """The records of all files that a file was made from, directly or indirectly."""

    def __init__(self, start: str | Path) -> None:
        """start: the final file, e.g. the collected scores."""
        self.missing: list[str] = []
        """Files without a record."""
        self.records: dict[str, dict[str, Any]] = {}
        waiting, seen = [str(start)], {str(start)}
        while waiting:
            path = waiting.pop()
            record = recorded(path)
            if record is None:
                self.missing.append(path)
                continue
            self.records[path] = record
            new = [name for name in record.get("inputs", {}) if name not in seen]
            seen |= set(new)
            waiting += new

    def of_step(self, step: str) -> list[dict[str, Any]]:
        """Return the records of the jobs of one step, each job once."""
        of_step = {path: record for path, record in self.records.items() if record.get("step") == step}
        jobs = {tuple(record.get("outputs", [path])): record for path, record in of_step.items()}
        return [jobs[outputs] for outputs in sorted(jobs)]

    def settings(self) -> dict[str, Any]:
        """Return the settings of every stage by dataset, or by system if there is one, without keys at their default.

        A key that differs between jobs has a list of its values.
        """
        merged: dict[str, Any] = {}
        for step, stage in STAGES.items():
            groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for record in self.of_step(step):
                settings = dict(record.get("settings", {}))
                name = "system" if "system" in settings else "dataset"
                groups[str(settings.pop(name, ""))].append(settings)
            if groups:
                merged[stage] = {name: _merged(groups[name]) for name in sorted(groups)}
        return merged

    def noise_seeds(self) -> list[int]:
        """Return the seeds of the noise, ascending."""
        return sorted({record.get("settings", {}).get("seed", 0) for record in self.of_step("corrupt.py")})

    def warnings(self) -> list[str]:
        """Return warnings about files without a record, and about jobs of one step with different code versions."""
        sentences = []
        if self.missing and self.records:
            number = len(self.missing)
            named = listed(sorted(self.missing)[:3], number)
            files = "1 file behind these scores has" if number == 1 else f"{number:,} files behind these scores have"
            sentences.append(f"{files} no provenance record: {named}.")
        versions: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for record in self.records.values():
            digest, *plugins = record.get("code") or [""]
            versions[(record.get("step", ""), *plugins)].add(digest)
        several = sorted({step for (step, *_), digests in versions.items() if len(digests) > 1})
        if several:
            sentences.append(
                f"These results were made with several versions of the code ({', '.join(several)}), which may cause "
                "differences. To make all of them with one version, run with --forceall."
            )
        return sentences


def _merged(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    keys = sorted({key for settings in jobs for key in settings})
    merged = {}
    for key in keys:
        texts = dict.fromkeys(json.dumps(settings.get(key), sort_keys=True) for settings in jobs)
        values = [json.loads(text) for text in texts]
        merged[key] = values[0] if len(values) == 1 else values
    return merged
