"""Layouts of corpora by name, and the files that they read. The plan imports this module.

A layout is one file in ``layouts/``, or a custom file named by the dataset's key ``file``, with one function that
returns a :class:`nmer.corpora.corpus.Corpus`::

    @layout("my_layout", files=("features.h5", "labels/*.csv"), standardize=("a",), folds=10)
    def read(source: Path, settings: CorpusSettings, *, my_option=1) -> Corpus: ...

``files`` are required patterns inside the dataset's folder; of a tuple of patterns, one must match. If ``files`` is
empty, the dataset's path is the only file. ``modality_files`` are additional patterns by modality, required if the
dataset has that modality. ``optional_files`` are patterns that may match nothing. ``option_files`` names options whose
value is another file, relative to the corpus' folder. ``targets`` lists the types of labels: ``("classes", "score")``
if the layout also reads real-valued scores, by default only classes. ``standardize`` names the modalities that are
normalised by default, ``folds`` the default number of folds, and ``classes`` the classes in label order if the layout
defines them. Keyword-only arguments are options (the dataset's key ``options``), limited by their annotations
(:mod:`nmer.options`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nmer.errors import ConfigError, DataError
from nmer.names import CLASSES, MODALITIES, SCORE, modality_set
from nmer.plugins import Declaration, Registry

layouts: Registry[Callable[..., Any]] = Registry("layout", "layout", "nmer.corpora.layouts")
layout = layouts.register


def check_classes(declaration: Declaration, classes: Sequence[str] | None, where: str) -> None:
    """Raise ConfigError if the classes differ from those that the layout defines, or from its label order.

    classes: names in label order, None = those of the layout. where: the key that names them.
    """
    defined = declaration.attributes.get("classes")
    if defined and classes is not None and list(classes) != list(defined):
        raise ConfigError(
            f"{where}: layout '{declaration.name}' defines its labels as {numbered(defined)}; {', '.join(classes)} "
            "would rename them. Remove the key."
        )


def check_target(declaration: Declaration, section: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError if the target of a dataset is a score but its layout or a key supports classes only.

    section: section of the dataset. where: its key.
    """
    if section.get("target", CLASSES) != SCORE:
        return
    if SCORE not in declaration.attributes.get("targets", (CLASSES,)):
        raise ConfigError(f"{where}.target: layout '{declaration.name}' reads classes only. Remove the key.")
    if section.get("classes"):
        raise ConfigError(f"{where}.classes: a dataset with 'target: score' has no classes. Remove one of the keys.")


def numbered(classes: Sequence[str]) -> str:
    """Return classes with their label numbers, for messages: ``0 = negative, 1 = positive``."""
    return ", ".join(f"{number} = {name}" for number, name in enumerate(classes))


def missing_modalities(present: Iterable[str], key: str) -> str:
    """Return the end of a message about a corpus with fewer modalities than its dataset declares.

    present: existing modalities. key: the key that declares modalities.
    """
    remedy = "Complete the corpus."
    if present := modality_set(present):
        listed = ", ".join(present)
        remedy = f"Modalities found: {listed}. Complete the corpus, or set {key} to [{listed}]."
    return remedy


def source_files(
    layout_name: str,
    source: str | Path,
    file: str | None = None,
    modalities: Iterable[str] = MODALITIES,
    key: str = "modalities",
    options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Return the files that a layout reads from a corpus, sorted. Reads only the declaration and folder listings.

    source: the dataset's folder, or its file if the layout declares no files. file: file of a custom layout.
    modalities: of the dataset. key: the key that declares them, for messages. options: of the layout. Raises DataError
    that names the missing file or pattern, ConfigError for an unknown layout.
    """
    source = Path(source)
    try:
        source.exists()
    except PermissionError:
        raise DataError(
            f"{source}: a parent folder cannot be entered (permission denied). Change its permissions."
        ) from None
    attributes = layouts.declaration(layout_name, file).attributes
    required, by_modality = attributes.get("files", ()), attributes.get("modality_files", {})
    if not required and not by_modality:
        if not source.is_file():
            problem = "is a folder" if source.is_dir() else "no such file"
            raise DataError(f"{source}: {problem}. Layout '{layout_name}' reads one file; correct the path.")
        files = {source}
    else:
        optional = attributes.get("optional_files", ())
        files = _files_of_folder(layout_name, source, required, optional)
        files |= _files_of_modalities(source, by_modality, modality_set(modalities), key)
    for option in attributes.get("option_files", ()):
        if name := (options or {}).get(option):
            files.add(_file_of_option(source, name, option))
    for path in sorted(files):
        if not os.access(path, os.R_OK):
            raise DataError(f"{path}: cannot be read (permission denied). Change its permissions.")
    return sorted(files)


def _files_of_folder(
    layout_name: str, source: Path, required: Iterable[str | tuple[str, ...]], optional: Iterable[str]
) -> set[Path]:
    if not source.is_dir():
        problem = "is a file" if source.is_file() else "no such folder"
        raise DataError(f"{source}: {problem}. Layout '{layout_name}' reads a folder; correct the path.")
    if not os.access(source, os.R_OK | os.X_OK):
        raise DataError(f"{source}: cannot be listed or entered (permission denied). Change its permissions.")
    files: set[Path] = set()
    for pattern in required:
        alternatives = (pattern,) if isinstance(pattern, str) else pattern
        matches = next(filter(None, (_matches(source, one) for one in alternatives)), None)
        if not matches:
            others = "".join(f" (or {other})" for other in alternatives[1:])
            absent = f"{source / alternatives[0]}{others}: no such file."
            raise DataError(f"{absent} Layout '{layout_name}' needs it; complete the corpus.")
        files |= matches
    for pattern in optional:
        files |= _matches(source, pattern)
    return files


def option_file(source: Path, name: str) -> Path:
    """Return the file that an option names, relative to the corpus' folder. source: the corpus, a folder or a file."""
    return (source if source.is_dir() else source.parent) / name


def _file_of_option(source: Path, name: str, option: str) -> Path:
    path = option_file(source, name)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file. Correct the layout's option '{option}', relative to the corpus' folder."
        )
    return path


def _files_of_modalities(source: Path, patterns: Mapping[str, str], modalities: Sequence[str], key: str) -> set[Path]:
    matches = {m: _matches(source, pattern) for m, pattern in patterns.items()}
    present = [m for m, files in matches.items() if files and m in modalities]
    for m in modalities:
        if m in matches and not matches[m]:
            raise DataError(f"{source / patterns[m]}: no such file. {missing_modalities(present, key)}")
    return {path for m in present for path in matches[m]}


def relative_name(file: Path, source: Path) -> str:
    """Return the name of a source file relative to the corpus' folder, with forward slashes."""
    folder = source if source.is_dir() else source.parent
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name


def _matches(folder: Path, pattern: str) -> set[Path]:
    return {path for path in folder.glob(pattern) if path.is_file()}
