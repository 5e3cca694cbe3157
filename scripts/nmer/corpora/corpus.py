"""What a layout's reader is given (:class:`CorpusSettings`) and what it returns (:class:`Corpus`).

Holds no format: how files become a corpus is in ``layouts/``, what is kept of it on disk in :mod:`nmer.corpora.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from nmer.corpora.registry import check_classes, layouts
from nmer.errors import ConfigError, nearest
from nmer.names import MODALITIES


@dataclass(frozen=True)
class CorpusSettings:
    """A dataset's section of the configuration, as far as its features depend on it.

    dataset: its name. layout: the reader's name; file: the user's own file holding that reader.
    dims: expected width per modality, missing = whatever the files hold.
    classes: names in the order of the files' label numbers, None = the layout's own.
    standardize: modalities normalised per dimension. folds: how many folds the corpus has; a stratified division makes
    this many. :meth:`from_mapping` takes what the layout declares for either that is not given.
    paper_name: the dataset's name in the paper; synthetic: generated data, not to be compared with the paper.
    options: keyword arguments of the layout's reader. evaluation: whether every utterance is tested under all six
    conditions (``every_condition``) or under one. needs_folds: whether the reader must give folds; noise needs none.
    """

    dataset: str
    layout: str
    file: str | None = None
    dims: Mapping[str, int | None] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    standardize: tuple[str, ...] = ()
    folds: int = 1
    paper_name: str | None = None
    synthetic: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluation: str = "every_condition"
    needs_folds: bool = True

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> CorpusSettings:
        """Settings from parsed JSON. Raises ConfigError naming the key that is unknown, missing or wrong."""
        values = {key: value for key, value in mapping.items() if value is not None}
        known = [entry.name for entry in fields(cls) if entry.name != "needs_folds"]  # not the user's to set
        for key in values:
            if key not in known:
                raise ConfigError(f"Unknown key '{key}' in the dataset's settings. {nearest(key, known)}")
        for key in ("dataset", "layout"):
            if not isinstance(values.get(key), str):
                raise ConfigError(f"The dataset's settings need the key '{key}', a name.")
        declaration = layouts.declaration(values["layout"], values.get("file"))
        values.setdefault("standardize", declaration.attributes.get("standardize", ()))
        values.setdefault("folds", declaration.attributes.get("folds", 1))
        _check_types(values, f"datasets.{values['dataset']}")
        declaration.check_options(values.get("options", {}), f"datasets.{values['dataset']}.options")
        check_classes(declaration, values.get("classes"), f"datasets.{values['dataset']}.classes")
        values["standardize"] = tuple(m for m in MODALITIES if m in values["standardize"])
        if "classes" in values:
            values["classes"] = tuple(values["classes"])
        return cls(**values)


def _check_types(values: dict[str, Any], section: str) -> None:
    dims, standardize = values.get("dims", {}), values["standardize"]
    if "classes" in values and not _distinct_names(values["classes"]):
        raise ConfigError(f"{section}.classes must list at least two different names.")
    if not isinstance(dims, Mapping) or any(m not in MODALITIES or not _positive(d) for m, d in dims.items()):
        raise ConfigError(f"{section}.dims must map a, v, l to positive whole numbers, e.g. {{a: 74, v: 35, l: 300}}.")
    if not isinstance(standardize, list | tuple) or any(m not in MODALITIES for m in standardize):
        raise ConfigError(f"{section}.standardize must list modalities out of a, v, l.")
    if not _positive(values.get("folds")):
        raise ConfigError(f"{section}.folds must be a whole number of at least 1.")
    for key in ("file", "paper_name", "evaluation"):
        if not isinstance(values.get(key), str | None):
            raise ConfigError(f"{section}.{key} must be text.")
    if not isinstance(values.get("options", {}), Mapping):
        raise ConfigError(f"{section}.options must map names to values.")
    if not isinstance(values.get("synthetic", False), bool):
        raise ConfigError(f"{section}.synthetic must be true or false.")


def _distinct_names(classes: object) -> bool:
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(set(classes)) == len(classes) >= 2


def _positive(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


@dataclass(frozen=True)
class Corpus:
    """A corpus as its reader found it. Usable as a context manager, which closes the reader's files.

    ids, speakers: n strings. labels: (n,) int64 in 0..len(classes)-1. dims: width per modality.
    lengths: per modality (n,) frames of each utterance. folds: 1-based number -> split -> (k,) int64 indices.
    features: (modality, index) -> (frames, dim) array of one utterance, read when asked for; any float type,
        not-a-number and infinities allowed (they are repaired when stored).
    normalisation: fold -> modality -> (mean, std), each (dim,), where the release brings its own.
    normalised: modalities that the reader has normalised itself; they are not standardised again.
    repairs: modality -> kind -> count of values the reader itself repaired. dropped: reason -> count of utterances.
    files: modality -> name of its file, for messages. notes: sentences on how the files were understood.
    warnings: sentences on what may be wrong with them.
    """

    ids: list[str]
    labels: np.ndarray
    speakers: list[str]
    classes: list[str]
    dims: dict[str, int]
    lengths: dict[str, np.ndarray]
    folds: dict[int, dict[str, np.ndarray]]
    features: Callable[[str, int], np.ndarray]
    normalisation: dict[int, dict[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    normalised: tuple[str, ...] = ()
    repairs: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    resources: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_error: object) -> None:
        self.resources.close()


def read_corpus(source: str | Path, settings: CorpusSettings) -> Corpus:
    """Read a corpus with its layout's reader. Raises DataError or ConfigError; see :class:`Corpus`."""
    return layouts.load(settings.layout, settings.file)(Path(source), settings, **settings.options)
