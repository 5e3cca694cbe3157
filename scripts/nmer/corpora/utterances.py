"""Parsing of tables of utterances into ids, labels, speakers and folds, for the generic layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nmer.corpora.corpus import CorpusSettings
from nmer.corpora.folds import (
    Folds,
    fixed_split,
    leave_one_group_out,
    numbered_parts,
    score_strata,
    stratified,
)
from nmer.corpora.label_parsing import check_class_names, number_labels, real_numbers
from nmer.corpora.registry import numbered
from nmer.errors import DataError
from nmer.names import SCORE


@dataclass(frozen=True)
class Utterances:
    """A parsed table of utterances.

    ids, speakers: n strings. labels: (n,) int64, or float64 scores. classes: names in label order, empty for scores.
    folds: as in ``Corpus``. notes: sentences on the interpretation of the table.
    """

    ids: list[str]
    labels: np.ndarray
    classes: list[str]
    speakers: list[str]
    folds: Folds
    notes: list[str]


def parse_utterances(
    columns: Mapping[str, list[str]], protocol: str, settings: CorpusSettings, place: str, stored: Folds | None = None
) -> Utterances:
    """Parse the columns ``id``, ``label`` and, if present, ``speaker``, ``split``, ``fold``.

    protocol: ``column`` reads folds from ``split`` or ``fold``, ``leave_one_group_out`` makes one per ``speaker``,
    ``stratified`` makes ``settings.folds`` by label and keeps each speaker in one part.
    stored: folds stored in the corpus, used if given. place: the file, for messages.
    Folds are omitted if the settings do not need them. Raises DataError that names file and column.
    """
    labels, classes, note = _labels(columns["label"], settings, place)
    speakers = columns.get("speaker")
    notes = [note]
    if speakers is None:
        notes.append("No column 'speaker': whether splits share speakers cannot be checked.")
    if not settings.needs_folds:
        return Utterances(columns["id"], labels, classes, speakers or list(columns["id"]), {}, notes)
    folds = stored or _folds(columns, labels, protocol, settings, place)
    notes.append(f"Folds: {len(folds)}, {_DESCRIPTIONS[protocol]}.")
    return Utterances(columns["id"], labels, classes, speakers or list(columns["id"]), folds, notes)


def _labels(column: list[str], settings: CorpusSettings, place: str) -> tuple[np.ndarray, list[str], str]:
    """Return labels, class names and a note on them."""
    if settings.target == SCORE:
        scores = real_numbers(column, place, "label")
        return scores, [], describe_scores(scores)
    if settings.classes is None:
        check_class_names(set(column), place, f"datasets.{settings.dataset}")
    labels, classes = number_labels(column, settings.classes, place)
    return labels, classes, f"Classes: {numbered(classes)}."


def describe_scores(scores: np.ndarray) -> str:
    """Return a note on the scores of a corpus, (n,)."""
    value_range = f" from {scores.min():g} to {scores.max():g}" if len(scores) else ""
    return f"Target: a score{value_range}."


_DESCRIPTIONS = {
    "column": "from the column",
    "given": "from the file",
    "leave_one_group_out": "one speaker left out in each, the next one for validation",
    "stratified": "stratified by label, the next part for validation",
}


def _folds(
    columns: Mapping[str, list[str]], labels: np.ndarray, protocol: str, settings: CorpusSettings, place: str
) -> Folds:
    speakers = columns.get("speaker")
    if protocol == "stratified":
        labels = score_strata(labels) if settings.target == SCORE else labels
        return stratified(labels, speakers, settings.folds, settings.dataset, place)
    if protocol == "leave_one_group_out":
        if speakers is None:
            raise DataError(f"{place}: leave_one_group_out needs a column 'speaker'. Add it.")
        return leave_one_group_out(speakers, f"{place}, column speaker")
    if ("split" in columns) == ("fold" in columns):
        raise DataError(
            f"{place}: folds need one of the columns 'split' (train, val, test) and 'fold' (1, 2, 3, …), or the option "
            "'protocol': leave_one_group_out or stratified."
        )
    if "split" in columns:
        return fixed_split(columns["split"], f"{place}, column split")
    return numbered_parts(columns["fold"], f"{place}, column fold")
