"""Read the paper's claims from ``workflow/reference/claims.toml``. For verdicts, see ``claims_audit``.

A claim selects scores from one of the paper's tables and bounds a relation between them; the head of the file lists the
keys. The paper gives no numbers for the claim on Figure 3: every distance must grow.
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
"""Relations that compare levels of a system, and the number of levels they need."""

PAPER, TABLES = "paper", "tables"
ORIGINS = {PAPER: "The paper says", TABLES: "Follows from the paper's tables, but is not stated"}
ALL, MOST = "all", "most"
EXPECTATIONS = ("more_than", "at_most", "about", "between")
REQUIRED = ("id", "text", "origin", "relation")
TABLE_KEYS = (*REQUIRED, "section", "table", *KEY, "others", "each", "compared_with", "of", *EXPECTATIONS, "tolerance")
FIGURE_KEYS = (*REQUIRED, "section", "figure", *DISTANCE_VALUES)


@dataclass(frozen=True)
class Bounds:
    """The bounds of a quantity, in points: from ``low`` (excluded if ``strict``) to ``high``."""

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
    """One claim: ``selection`` and ``compared_with`` have a tuple of values per field; those of ``each`` are separate.

    A claim on Figure 3 has no table, and its distances must grow. origin: whether the paper states it (in ``section``,
    if known) or it follows from its tables. of: whether all quantities must be within the bounds, or most.
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
        """The section and the table or figure of the paper."""
        place = "Figure 3" if self.table is None else f"Table {self.table}"
        return f"section {self.section}, {place}" if self.section else place

    @property
    def expected(self) -> str:
        """The computed relation and its bounds, in words."""
        if self.table is None:
            return f"growth from each level to the next: {self.bounds.text}"
        other = ", ".join(values_text(name, values) for name, values in self.compared_with.items())
        most = " in more than half of the cases" if self.of == MOST else ""
        return f"{RELATIONS[self.relation]}{f', less the same with {other}' if other else ''}: {self.bounds.text}{most}"

    def cases(self) -> Iterator[Selection]:
        """Yield a selection for every combination of the values of ``each``."""
        for values in product(*(self.selection[name] for name in self.each)):
            yield self.selection | {name: (value,) for name, value in zip(self.each, values, strict=True)}


def read_papers(folder: str | Path) -> dict[int, pd.DataFrame]:
    """Read the paper's Tables 2 to 5, with the project's system names. Raises DataError if one is missing or bad."""
    return {number: in_our_names(read_paper(folder, number)) for number in SCORE_TABLES}


def read_claims(path: str | Path, papers: dict[int, pd.DataFrame]) -> list[Claim]:
    """Read the claims of a TOML file and check them against their tables (``papers``, see :func:`read_papers`).

    Raises ConfigError, naming file and claim, if the file cannot be read, or if an entry lacks a key or names a value
    that its table does not have.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as claims ({error}).") from None
    entries = content.get("claim")
    if set(content) != {"claim"} or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ConfigError(f"{path}: may contain only [[claim]] entries. Remove the others.")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            claim = _figure_claim(entry) if "figure" in entry else _table_claim(entry, papers)
            if claim.name in claims:
                raise ConfigError("another claim has this id. Choose another id.")
        except ConfigError as error:
            raise ConfigError(f"{path}: claim '{entry.get('id', f'number {number}')}': {error}") from None
        claims[claim.name] = claim
    return list(claims.values())


def values_text(name: str, values: Iterable[Any]) -> str:
    """Return values of a field as printed, e.g. ``−10 dB and −40 dB``."""
    text = " and ".join(value_text(name, value) for value in values)
    return f"against {text}" if name == "others" else text


def value_text(name: str, value: Any) -> str:
    """Return one value of a field as printed."""
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
        raise ConfigError(f"table {entry['table']} is not possible. Choose from: {', '.join(map(str, papers))}.")
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
        raise ConfigError("the relation 'best' needs more_than and must not have compared_with.")
    fewest = OVER_LEVELS.get(entry["relation"], 0)
    if len((selection | compared)["snr_db"]) < fewest:
        raise ConfigError(f"the relation '{entry['relation']}' needs at least {fewest} levels. Name them in snr_db.")
    of = entry.get("of", ALL)
    if of not in (ALL, MOST) or (of == MOST and not {"more_than", "at_most"} & set(entry)):
        raise ConfigError(f"of must be '{ALL}' or '{MOST}', and '{MOST}' needs more_than or at_most.")
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
        raise ConfigError(f"figure {entry['figure']} is not possible. Only 3 is.")
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
        raise ConfigError(f"origin must be '{PAPER}' (the paper states it) or '{TABLES}' (it follows from its tables).")
    if entry["relation"] not in relations:
        raise ConfigError(f"unknown relation '{entry['relation']}'. {nearest(str(entry['relation']), relations)}")


def _values(name: str, listed: object, known: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """Return the given values of a field, or all known ones (None: any) if none are given; least noise first."""
    values = known if listed is None else tuple(listed) if isinstance(listed, list) else (listed,)
    if not values:
        raise ConfigError(f"{name} is an empty list. Add a value or omit the key.")
    for value in values:
        if known is not None and value not in known:
            raise ConfigError(f"unknown {name} '{value}'. {nearest(str(value), map(str, known))}")
    return tuple(sorted(set(values), reverse=True)) if name == "snr_db" else tuple(dict.fromkeys(values))


def _others(entry: dict[str, Any], systems: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the systems that a relation compares with; empty for a relation that compares levels."""
    if entry["relation"] not in ("best", "gap"):
        if "others" in entry:
            raise ConfigError(f"the relation '{entry['relation']}' compares levels, not systems. Remove others.")
        return ()
    if "system" not in entry or (entry["relation"] == "gap" and "others" not in entry):
        raise ConfigError("names no systems to compare. Add system, and for a gap also others.")
    others = _values("others", entry.get("others", [name for name in known if name not in systems]), known)
    if both := set(others) & set(systems):
        raise ConfigError(f"'{min(both)}' is in both system and others. Remove it from one of them.")
    return others


def _each(names: object, fields: list[str], relation: str) -> tuple[str, ...]:
    if relation in OVER_LEVELS:
        fields = [name for name in fields if name != "snr_db"]
    if not isinstance(names, list) or not all(name in fields for name in names):
        raise ConfigError(f"each must be a list of some of {', '.join(fields)}.")
    return tuple(names)


def _bounds(entry: dict[str, Any]) -> Bounds:
    keys = [key for key in EXPECTATIONS if key in entry]
    if len(keys) != 1:
        raise ConfigError(f"must have exactly one of the keys {', '.join(EXPECTATIONS)}.")
    (kind,) = keys
    value, tolerance = entry[kind], entry.get("tolerance", 0)
    ends = value if isinstance(value, list) else [value]
    if len(ends) != (2 if kind == "between" else 1) or not all(map(_is_number, [*ends, tolerance])):
        raise ConfigError(f"{kind} must be {'a list of two numbers' if kind == 'between' else 'a number'} of points.")
    if ends != sorted(ends) or tolerance < 0:
        raise ConfigError("between needs the smaller number first, and a tolerance must not be negative.")
    if ("tolerance" in entry) != (kind == "about") and kind != "between":
        raise ConfigError("about needs a tolerance in points; more_than and at_most must not have one.")
    if kind == "more_than":
        return Bounds(f"more than {value} points", low=value, strict=True)
    if kind == "at_most":
        return Bounds(f"at most {value} points", high=value)
    text = f"{value} ± {tolerance}" if kind == "about" else f"{ends[0]} to {ends[1]} (± {tolerance})"
    return Bounds(f"{text} points", low=ends[0] - tolerance, high=ends[-1] + tolerance)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
