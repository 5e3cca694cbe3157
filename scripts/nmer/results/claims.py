"""The paper's claims as data: what an entry of ``workflow/reference/claims.toml`` says. Not for judging one.

A claim selects scores of one of the paper's tables and says what a relation between them has to be; the head of the
file lists the keys. A claim of Figure 3 has no numbers of the paper: there every distance has to grow.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nmer.errors import ConfigError, nearest
from nmer.names import CONDITIONS, MODALITIES
from nmer.results.labels import MODALITY_LABELS, noise_label, system_label
from nmer.results.tables import KEY, SCORE_TABLES, in_our_names, read_paper
from nmer.results.wording import decibels

DISTANCES = {"t-SNE": "tsne_distance", "raw": "raw_distance"}
"""Kinds of distance in Figure 3 and their columns in its data."""

DISTANCE_VALUES = {"noise": None, "distance": tuple(DISTANCES), "modality": (*MODALITIES, "mean")}
GROWTH = "growth"
Selection = dict[str, tuple[Any, ...]]
"""Field -> its values: names, or SNRs in dB with None for a kind without one."""

RELATIONS = {
    "best": "lead over the best of the others",
    "gap": "lead over each of the others",
    "drop": "loss from least to most noise",
    "steps": "loss from each level to the next",
    "acceleration": "loss from each level to the next, less the loss before it",
}
OVER_LEVELS = {"drop": 2, "steps": 2, "acceleration": 3}
"""Relations that compare levels of a system, and how many levels they need."""

PAPER, TABLES = "paper", "tables"
ORIGINS = {PAPER: "The paper says", TABLES: "Follows from the paper's tables, but is not said"}
ALL, MOST = "all", "most"
EXPECTATIONS = ("more_than", "at_most", "about", "between")
REQUIRED = ("id", "text", "origin", "relation")
TABLE_KEYS = (*REQUIRED, "section", "table", *KEY, "others", "each", "compared_with", "of", *EXPECTATIONS, "tolerance")
FIGURE_KEYS = (*REQUIRED, "section", "figure", *DISTANCE_VALUES)


@dataclass(frozen=True)
class Bounds:
    """What a quantity has to be, in points: from ``low`` (itself excluded if ``strict``) to ``high``."""

    text: str
    low: float = -math.inf
    high: float = math.inf
    strict: bool = False

    def hold(self, points: np.ndarray) -> np.ndarray:
        """Whether each quantity is within the bounds; same shape."""
        above = points > self.low if self.strict else points >= self.low
        return above & (points <= self.high)


GROWS = Bounds("above 0", low=0, strict=True)


@dataclass(frozen=True)
class Claim:
    """One claim: ``selection`` and ``compared_with`` hold a tuple of values for each field, all of ``each`` by itself.

    A claim of Figure 3 has no table, and its distances have to grow. origin: whether the paper says it, in ``section``
    if that is known, or it follows from its tables. of: whether all quantities have to be within the bounds, or most.
    """

    name: str
    text: str
    relation: str
    selection: Selection
    each: tuple[str, ...]
    origin: str = PAPER
    section: str = ""
    of: str = ALL
    table: int | None = None
    bounds: Bounds = GROWS
    compared_with: Selection = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the paper shows it."""
        shown = "Figure 3" if self.table is None else f"Table {self.table}"
        return f"section {self.section}, {shown}" if self.section else shown

    @property
    def expected(self) -> str:
        """What is computed and what it has to be, in words."""
        if self.table is None:
            return f"growth from each level to the next: {self.bounds.text}"
        other = ", ".join(values_text(name, values) for name, values in self.compared_with.items())
        most = " in more than half of the cases" if self.of == MOST else ""
        return f"{RELATIONS[self.relation]}{f', less the same with {other}' if other else ''}: {self.bounds.text}{most}"

    def cases(self) -> Iterator[Selection]:
        """A selection for every combination of the values of ``each``."""
        for values in product(*(self.selection[name] for name in self.each)):
            yield self.selection | {name: (value,) for name, value in zip(self.each, values, strict=True)}


def read_papers(folder: str | Path) -> dict[int, pd.DataFrame]:
    """The paper's Tables 2 to 5 with our names of systems. Raises DataError if one is missing or damaged."""
    return {number: in_our_names(read_paper(folder, number)) for number in SCORE_TABLES}


def read_claims(path: str | Path, papers: dict[int, pd.DataFrame]) -> list[Claim]:
    """The claims of a TOML file, checked against the tables they speak of (``papers``, see :func:`read_papers`).

    Raises ConfigError, naming the file and the claim, if the file cannot be read, an entry lacks something, or it
    names what its table does not have.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as claims ({error}).") from None
    entries = content.get("claim")
    if set(content) != {"claim"} or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ConfigError(f"{path}: must hold entries [[claim]] and nothing else.")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            claim = _figure_claim(entry) if "figure" in entry else _table_claim(entry, papers)
            if claim.name in claims:
                raise ConfigError("another claim has this id. Give it one of its own.")
        except ConfigError as error:
            raise ConfigError(f"{path}: claim '{entry.get('id', f'number {number}')}': {error}") from None
        claims[claim.name] = claim
    return list(claims.values())


def values_text(name: str, values: Iterable[Any]) -> str:
    """Values of a field as printed, e.g. ``−10 dB and −40 dB``."""
    text = " and ".join(value_text(name, value) for value in values)
    return f"against {text}" if name == "others" else text


def value_text(name: str, value: Any) -> str:
    """One value of a field as printed."""
    if name == "condition" and value in CONDITIONS:
        return f"condition {value}"
    if name == "modality":
        return MODALITY_LABELS.get(value, str(value))
    if name == "distance":
        return f"{value} distance"
    labels: dict[str, Callable[[Any], str]] = {"system": system_label, "others": system_label}
    labels |= {"noise": noise_label, "snr_db": decibels}
    return labels.get(name, str)(value)


def _table_claim(entry: dict[str, Any], papers: dict[int, pd.DataFrame]) -> Claim:
    _check_keys(entry, (*REQUIRED, "table"), TABLE_KEYS, tuple(RELATIONS))
    if entry["table"] not in list(papers):
        raise ConfigError(f"there are no claims of Table {entry['table']}, only of {', '.join(map(str, papers))}.")
    paper = papers[entry["table"]]
    known = {name: tuple(paper[name].drop_duplicates().tolist()) for name in KEY}
    selection = {name: _values(name, entry.get(name), known[name]) for name in KEY}
    if others := _others(entry, selection["system"], known["system"]):
        selection["others"] = others
    compared = entry.get("compared_with", {})
    if not isinstance(compared, dict) or not set(compared) <= set(KEY[1:]):
        raise ConfigError(f"compared_with must be a table with some of the keys {', '.join(KEY[1:])}.")
    compared = {name: _values(name, value, known[name]) for name, value in compared.items()}
    if entry["relation"] == "best" and (compared or "more_than" not in entry):
        raise ConfigError("the relation 'best' takes more_than, and no compared_with.")
    fewest = OVER_LEVELS.get(entry["relation"], 0)
    if len((selection | compared)["snr_db"]) < fewest:
        raise ConfigError(f"the relation '{entry['relation']}' needs at least {fewest} levels. Name them in snr_db.")
    of = entry.get("of", ALL)
    if of not in (ALL, MOST) or (of == MOST and not {"more_than", "at_most"} & set(entry)):
        raise ConfigError(f"of must be '{ALL}' or '{MOST}', and '{MOST}' takes more_than or at_most.")
    return Claim(
        name=entry["id"],
        text=entry["text"],
        relation=entry["relation"],
        selection=selection,
        each=_each(entry.get("each", []), list(selection), entry["relation"]),
        origin=entry["origin"],
        section=entry.get("section", ""),
        of=of,
        table=entry["table"],
        bounds=_bounds(entry),
        compared_with=compared,
    )


def _figure_claim(entry: dict[str, Any]) -> Claim:
    _check_keys(entry, (*REQUIRED, "figure", "noise"), FIGURE_KEYS, (GROWTH,))
    if entry["figure"] != 3:
        raise ConfigError(f"there are no claims of Figure {entry['figure']}, only of 3.")
    selection = {name: _values(name, entry.get(name), known) for name, known in DISTANCE_VALUES.items()}
    about = {"origin": entry["origin"], "section": entry.get("section", "")}
    return Claim(entry["id"], entry["text"], GROWTH, selection, tuple(DISTANCE_VALUES), **about)


def _check_keys(entry: dict[str, Any], required: Iterable[str], known: Iterable[str], relations: Iterable[str]) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"unknown key '{key}'. {nearest(key, known)}")
    for key in required:
        if key not in entry:
            raise ConfigError(f"lacks the key '{key}'. Add it.")
    if not all(isinstance(entry.get(key, ""), str) for key in ("id", "text", "section")):
        raise ConfigError("id, text and section must be text.")
    if entry["origin"] not in ORIGINS:
        raise ConfigError(f"origin must be '{PAPER}' or '{TABLES}': does the paper say it, or do its tables?")
    if entry["relation"] not in relations:
        raise ConfigError(
            f"there is no relation '{entry['relation']}' here. {nearest(str(entry['relation']), relations)}"
        )


def _values(name: str, given: object, known: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The values given for a field, or all that are known (None: any) if none is given; least noise first."""
    values = known if given is None else tuple(given) if isinstance(given, list) else (given,)
    if not values:
        raise ConfigError(f"{name} is an empty list. Name a value, or leave the key out.")
    for value in values:
        if known is not None and value not in known:
            raise ConfigError(f"there is no {name} '{value}'. {nearest(str(value), map(str, known))}")
    return tuple(sorted(set(values), reverse=True)) if name == "snr_db" else tuple(dict.fromkeys(values))


def _others(entry: dict[str, Any], systems: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """The systems that a relation compares with; empty for a relation that compares levels."""
    if entry["relation"] not in ("best", "gap"):
        if "others" in entry:
            raise ConfigError(f"the relation '{entry['relation']}' compares levels, not systems. Take out others.")
        return ()
    if "system" not in entry or (entry["relation"] == "gap" and "others" not in entry):
        raise ConfigError("must say which systems are compared: system, and for a gap also others.")
    others = _values("others", entry.get("others", [name for name in known if name not in systems]), known)
    if both := set(others) & set(systems):
        raise ConfigError(f"'{min(both)}' stands in both system and others. A system leads over others only.")
    return others


def _each(given: object, fields: list[str], relation: str) -> tuple[str, ...]:
    if relation in OVER_LEVELS:
        fields = [name for name in fields if name != "snr_db"]
    if not isinstance(given, list) or not all(name in fields for name in given):
        raise ConfigError(f"each must be a list of some of {', '.join(fields)}.")
    return tuple(given)


def _bounds(entry: dict[str, Any]) -> Bounds:
    given = [key for key in EXPECTATIONS if key in entry]
    if len(given) != 1:
        raise ConfigError(f"must have exactly one of the keys {', '.join(EXPECTATIONS)}.")
    (kind,) = given
    value, tolerance = entry[kind], entry.get("tolerance", 0)
    ends = value if isinstance(value, list) else [value]
    if len(ends) != (2 if kind == "between" else 1) or not all(map(_is_number, [*ends, tolerance])):
        raise ConfigError(f"{kind} must be {'a list of two numbers' if kind == 'between' else 'a number'} of points.")
    if ends != sorted(ends) or tolerance < 0:
        raise ConfigError("between goes from the smaller to the larger number, and a tolerance is not negative.")
    if ("tolerance" in entry) != (kind == "about") and kind != "between":
        raise ConfigError("about needs a tolerance in points; more_than and at_most have none.")
    if kind == "more_than":
        return Bounds(f"more than {value} points", low=value, strict=True)
    if kind == "at_most":
        return Bounds(f"at most {value} points", high=value)
    text = f"{value} ± {tolerance}" if kind == "about" else f"{ends[0]} to {ends[1]} (± {tolerance})"
    return Bounds(f"{text} points", low=ends[0] - tolerance, high=ends[-1] + tolerance)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
