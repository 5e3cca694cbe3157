"""Input (:class:`CorpusSettings`) and result (:class:`Corpus`) of a layout's reader.

Contains no formats: readers are in ``layouts/``, the format on disk is in :mod:`nmer.corpora.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nmer.content import converting
from nmer.corpora.registry import check_classes, check_target, layouts, missing_modalities
from nmer.errors import ConfigError, DataError, nearest
from nmer.names import CLASSES, EVERY_CONDITION, MODALITIES, TARGETS, modality_set
from nmer.plugins import report_failures


@dataclass(frozen=True)
class CorpusSettings:
    """The part of a dataset's configuration that its features depend on.

    dataset: name of the dataset. layout: name of the reader. file: file of a custom reader. modalities: modalities of
    the corpus, in the order a, v, l; a reader reads no others. dims: expected width per modality, missing = not
    checked. target: type of the labels, ``classes`` or ``score`` (real numbers). classes: names in the order of the
    label numbers in the files, None = defined by the layout; None for scores. standardize: modalities to normalise per
    dimension. folds: number of folds, also for stratified division. :meth:`from_mapping` uses the defaults of the
    layout for both. paper_name: name of the dataset in the paper. synthetic: whether the data are generated and must
    not be compared with the paper. extracted: whether the workflow extracted the features from raw media. options:
    keyword arguments of the layout's reader. evaluation: whether every utterance is tested under all incomplete
    conditions (``every_condition``) or under one. needs_folds: whether the reader must provide folds; noise does not
    need them.
    """

    dataset: str
    layout: str
    file: str | None = None
    modalities: tuple[str, ...] = MODALITIES
    dims: Mapping[str, int | None] = field(default_factory=dict)
    target: str = CLASSES
    classes: tuple[str, ...] | None = None
    standardize: tuple[str, ...] = ()
    folds: int = 1
    paper_name: str | None = None
    synthetic: bool = False
    extracted: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluation: str = EVERY_CONDITION
    needs_folds: bool = True

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> CorpusSettings:
        """Create settings from parsed JSON. Raises ConfigError that names the unknown, missing or invalid key."""
        values = {key: value for key, value in mapping.items() if value is not None}
        known = [entry.name for entry in fields(cls) if entry.name != "needs_folds"]  # internal
        for key in values:
            if key not in known:
                raise ConfigError(f"Unknown key '{key}' in the dataset's settings. {nearest(key, known)}")
        for key in ("dataset", "layout"):
            if not isinstance(values.get(key), str):
                raise ConfigError(f"The dataset's settings need the key '{key}', a name.")
        declaration = layouts.declaration(values["layout"], values.get("file"))
        section = f"datasets.{values['dataset']}"
        values["modalities"] = modalities = _modalities(values.get("modalities", MODALITIES), section)
        absent = set(MODALITIES) - set(modalities)
        by_layout = declaration.attributes.get("standardize", ())
        values.setdefault("standardize", tuple(m for m in by_layout if m not in absent))
        values.setdefault("folds", declaration.attributes.get("folds", 1))
        _check_types(values, section)
        check_undeclared(values, modalities, section)
        declaration.check_options(values.get("options", {}), f"{section}.options")
        check_classes(declaration, values.get("classes"), f"{section}.classes")
        check_target(declaration, values, section)
        values["standardize"] = tuple(m for m in modalities if m in values["standardize"])
        if "classes" in values:
            values["classes"] = tuple(values["classes"])
        return cls(**values)


def check_undeclared(section: Mapping[str, Any], modalities: Iterable[str], where: str) -> None:
    """Raise ConfigError if ``dims`` or ``standardize`` of a dataset names a modality that it does not declare.

    section: section of the dataset, without defaults of the layout. where: key of the section.
    """
    declared = modality_set(modalities)
    for key in ("dims", "standardize"):
        other = [m for m in section.get(key, ()) if m not in declared]
        if other:
            raise ConfigError(
                f"{where}.{key}: names {', '.join(other)}, which is not among the dataset's modalities "
                f"({', '.join(declared)}). Remove it, or add it to {where}.modalities."
            )


def _modalities(names: object, section: str) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not names or any(m not in MODALITIES for m in names):
        raise ConfigError(f"{section}.modalities must list one or more of a, v, l.")
    return modality_set(names)


def _check_types(values: dict[str, Any], section: str) -> None:
    dims, standardize = values.get("dims", {}), values["standardize"]
    if "classes" in values and not _distinct_names(values["classes"]):
        raise ConfigError(f"{section}.classes must list at least two different names.")
    if not isinstance(dims, Mapping) or any(m not in MODALITIES or not _positive(d) for m, d in dims.items()):
        raise ConfigError(f"{section}.dims must map a, v, l to positive whole numbers, e.g. {{a: 74, v: 35, l: 300}}.")
    if not isinstance(standardize, list | tuple) or any(m not in MODALITIES for m in standardize):
        raise ConfigError(f"{section}.standardize must list modalities out of a, v, l.")
    if values.get("target", CLASSES) not in TARGETS:
        raise ConfigError(f"{section}.target must be one of {', '.join(TARGETS)}.")
    if not _positive(values.get("folds")):
        raise ConfigError(f"{section}.folds must be a whole number of at least 1.")
    for key in ("file", "paper_name", "evaluation"):
        if not isinstance(values.get(key), str | None):
            raise ConfigError(f"{section}.{key} must be text.")
    if not isinstance(values.get("options", {}), Mapping):
        raise ConfigError(f"{section}.options must map names to values.")
    for key in ("synthetic", "extracted"):
        if not isinstance(values.get(key, False), bool):
            raise ConfigError(f"{section}.{key} must be true or false.")


def _distinct_names(classes: object) -> bool:
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(set(classes)) == len(classes) >= 2


def _positive(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


@dataclass(frozen=True)
class Corpus:
    """A corpus, as returned by its reader. A context manager that closes the files of the reader.

    ids, speakers: n strings. labels: (n,) int64 in 0..len(classes)-1; for the target ``score``, (n,) float64 and no
    classes. dims: width per modality.
    lengths: per modality (n,) frames of each utterance. folds: number from 1 -> split -> (k,) int64 indices.
    features: (modality, index) -> (frames, dim) array of one utterance, read on demand; any float type, NaN and
        infinities allowed (they are repaired when stored).
    normalisation: fold -> modality -> (mean, std), each (dim,), if the release contains them.
    normalised: modalities that the reader has normalised; they are not standardised again.
    repairs: modality -> kind -> count of values repaired by the reader. dropped: reason -> count of utterances.
    files: modality -> name of its file, for messages. notes: sentences on the interpretation of the files.
    warnings: sentences on possible problems of the files.
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

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities that have a width, in the order a, v, l."""
        return modality_set(self.dims)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_error: object) -> None:
        self.resources.close()


def read_corpus(source: str | Path, settings: CorpusSettings) -> Corpus:
    """Read a corpus with the reader of its layout. Raises DataError or ConfigError, also if a custom reader fails.

    Modalities that are not declared are ignored. A missing modality is a DataError that names the key.
    """
    read = layouts.load(settings.layout, settings.file)
    if settings.file:
        read = report_failures(read, settings.file, layouts.sort)
    corpus: Corpus = read(Path(source), settings, **settings.options)
    section = f"datasets.{settings.dataset}"
    with converting(f"{section}, layout '{settings.layout}'", "Correct its reader: see the documentation of Corpus."):
        absent = [m for m in settings.modalities if m not in corpus.dims]
    if absent:
        corpus.resources.close()
        hint = missing_modalities(corpus.modalities, f"{section}.modalities")
        raise DataError(f"{source}: the corpus has no modality {', '.join(absent)}. {hint}")
    if settings.file:
        corpus = replace(corpus, features=report_failures(corpus.features, settings.file, layouts.sort))
    kept = {m: corpus.dims[m] for m in settings.modalities}
    return corpus if kept == corpus.dims else replace(corpus, dims=kept)
