"""What the files behind a report say of how they were made; never what the configuration says now."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from nmer.digests import recorded

STAGES = {
    "generate_corpus.py": "corpora",
    "build_features.py": "features",
    "calibrate.py": "calibration",
    "corrupt.py": "noise",
    "train.py": "training",
    "evaluate.py": "evaluation",
}
"""Steps whose settings are shown, and the heading of each."""


class Recorded:
    """The records of the files behind some file, found from input to input."""

    def __init__(self, start: str | Path) -> None:
        """start: the file to begin with, e.g. the collected scores."""
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
        """The records of the jobs of one step, each job once."""
        of_step = {path: record for path, record in self.records.items() if record.get("step") == step}
        jobs = {tuple(record.get("outputs", [path])): record for path, record in of_step.items()}
        return [jobs[outputs] for outputs in sorted(jobs)]

    def settings(self) -> dict[str, Any]:
        """The settings of every stage by dataset, or by system where there is one; keys at their default are absent.

        A key that differs between jobs has the list of its values.
        """
        shown: dict[str, Any] = {}
        for step, stage in STAGES.items():
            groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for record in self.of_step(step):
                settings = dict(record.get("settings", {}))
                name = "system" if "system" in settings else "dataset"
                groups[str(settings.pop(name, ""))].append(settings)
            if groups:
                shown[stage] = {name: _merged(groups[name]) for name in sorted(groups)}
        return shown

    def noise_seeds(self) -> list[int]:
        """The seeds of the noise, ascending."""
        return sorted({record.get("settings", {}).get("seed", 0) for record in self.of_step("corrupt.py")})

    def warnings(self) -> list[str]:
        """Sentences on files without a record, and on jobs of one kind that ran different versions of the code."""
        sentences = []
        if self.missing and self.records:
            named = ", ".join(sorted(self.missing)[:3]) + (", …" if len(self.missing) > 3 else "")
            sentences.append(
                f"{len(self.missing):,} files behind these scores have no record of what made them: {named}."
            )
        versions: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for record in self.records.values():
            digest, *plugins = record.get("code") or [""]
            versions[(record.get("step", ""), *plugins)].add(digest)
        several = sorted({step for (step, *_), digests in versions.items() if len(digests) > 1})
        if several:
            sentences.append(
                f"Results of several versions of the code are mixed here ({', '.join(several)}). Differences may be "
                "theirs. To make all with one version, run with --forceall."
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
