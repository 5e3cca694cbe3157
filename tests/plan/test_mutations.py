"""Randomly mutated configurations are planned without an error or refused in one line."""

from __future__ import annotations

import copy
import datetime
import random
from typing import Any

import pytest
from shipped import shipped_config

from nmer.errors import NmerError
from nmer.plan.jobs import jobs
from nmer.plan.outdated import made_by
from nmer.plan.plan import Plan

VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, -1, 2.0, 1.5, -0.5, 1e-12, 1e300, 10**30, -(10**30), float("nan"), float("inf")),
    *(
        "",
        " ",
        "a",
        "all",
        "fresh",
        "none",
        "clean",
        "features",
        "logs",
        "nmer",
        "men",
        "gaussian",
        "zero",
        "NA",
        "null",
    ),
    *("tiny_mosei", "mosi", "~", "~nobody/x", "~/corpora", "../up", "/", "a\nb", "name\n", "a\0b", "\ud800", "中文"),
    *("a;touch PWNED;b", "$(touch PWNED)", "a b", "[x]", "{x}", "{wildcards.dataset}", "x" * 300, "1e-3", "0.5", "-10"),
    *(
        [],
        {},
        [[]],
        [{}],
        {"a": 1},
        {"a": {"b": []}},
        [1],
        [1, 1],
        [1.0],
        ["a"],
        ["men", "men"],
        ["nmer"],
        ["gaussian"],
    ),
    *([-10], [-10.0], [0], [float("inf")], {5: 1}, {True: 1}, {None: 1}, {"": 1}, {"clean": {}}, {"file": "x.py"}),
    *({"gaussian": [-10]}, {"layers": "2"}, {"file": 5}, {"kind": "gaussian"}, {"kind": None}, {"utterances": 400}),
    *(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), b"bytes", {1, 2}),
]
KEYS: list[Any] = [True, False, None, 5, 1.5, "", "on", "clean", "features", "logs", "a b", "x\n", "A", "a;b", "file"]
KEYS += ["kind", "path", "generate", "options", "layout", "training", "中", "name" * 50, datetime.date(2026, 1, 1)]


def mutant(seed: int) -> dict[str, Any]:
    """Return the default configuration with up to three random changes, mostly to keys that ``tiny`` uses."""
    chance = random.Random(seed)
    config = shipped_config()
    config["experiment"] = chance.choice(["tiny", "tiny", "tiny", "demo"])
    for _ in range(chance.choice([1, 1, 2, 3])):
        change(config, chance)
    return config


def change(config: dict[str, Any], chance: random.Random) -> None:
    places: list[tuple[Any, Any]] = []

    def visit(value: Any, above: tuple[int, ...] = ()) -> None:
        items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for key, inner in items:
            places.append((value, key))
            if isinstance(inner, dict | list) and id(inner) not in above:
                visit(inner, (*above, id(inner)))

    experiments = config.get("experiments")
    about = [config.get(key) for key in ("datasets", "noise", "systems", "training", "compute")]
    for part in [*about, experiments.get("tiny") if isinstance(experiments, dict) else None]:
        if isinstance(part, dict):
            visit(part)
    places += [(config, key) for key in list(config)]
    parent, key = chance.choice(places)
    action = chance.choice(["replace", "replace", "replace", "remove", "rename", "add", "swap", "nest", "itself"])
    if action == "replace":
        parent[key] = copy.deepcopy(chance.choice(VALUES))
    elif action == "remove":
        del parent[key]
    elif action == "nest":
        parent[key] = [parent[key]] if chance.random() < 0.5 else {"a": parent[key]}
    elif action == "itself":
        parent[key] = parent
    elif action == "swap":
        other, name = chance.choice(places)
        if name in other if isinstance(other, dict) else name < len(other):
            parent[key] = copy.deepcopy(other[name])
    elif isinstance(parent, dict):
        value = parent.pop(key) if action == "rename" else copy.deepcopy(chance.choice(VALUES))
        parent[chance.choice(KEYS)] = value
    else:
        parent.append(copy.deepcopy(chance.choice(VALUES)))


def outcome(config: dict[str, Any]) -> str:
    """Plan every job; return the error message, or an empty text."""
    try:
        plan = Plan(config)
    except NmerError as error:
        return str(error)
    planned = jobs(plan)
    for job in planned[:: max(len(planned) // 60, 1)]:
        step, _settings = made_by(plan, job)
        plan.code(step, job.wildcards)
        str(job.output).encode()
    plan.report_settings()
    for name in plan.downloads:
        plan.fetch_settings(name)
    return ""


def check(seed: int) -> bool:
    message = outcome(mutant(seed))
    assert "\n" not in message, message
    assert message == message.strip()
    assert len(message) < 1500, message
    message.encode()
    return not message


@pytest.mark.parametrize("seed", range(12))
def test_a_mutated_configuration_is_planned_or_refused_in_one_line(seed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    check(seed)


@pytest.mark.slow
def test_five_hundred_mutated_configurations_are_planned_or_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    accepted = [check(1000 + seed) for seed in range(500)]
    assert 25 < sum(accepted) < 475
