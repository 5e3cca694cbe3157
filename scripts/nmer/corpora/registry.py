"""The layouts of corpora, found by name, and the files each one reads. Light: the plan imports it at parse time.

A layout is one file in ``layouts/`` (or a user's own, named by the dataset's key ``file``) with one function::

    @layout("my_layout", files=("features.h5", "labels/*.csv"), standardize=("a",), folds=10)
    def read(source: Path, settings: CorpusSettings, *, my_option=1) -> Corpus: ...

``files`` are patterns inside the dataset's folder, each of which must match (of a tuple of patterns, one); an empty
``files`` means that the dataset's path is itself the one file. ``modality_files`` gives further patterns by modality,
needed where the dataset has that modality. ``optional_files`` (patterns too) may be absent.
``option_files`` names options whose value is a further file, relative to the corpus' folder. ``targets`` lists what
labels can be: ``("classes", "score")`` where the layout also reads real-valued scores, default classes alone.
``standardize`` names the modalities that are normalised by default, ``folds`` how many folds the corpus has unless the
configuration says otherwise. ``classes`` names the classes in label order where the layout defines them. Keyword-only
arguments are the layout's options (the dataset's key ``options``), limited by their annotations
(:mod:`nmer.options`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmer.errors import ConfigError, DataError
from nmer.metrics import CLASSES, SCORE
from nmer.names import MODALITIES, modality_set
from nmer.plugins import Declaration, Registry

if TYPE_CHECKING:
    from nmer.corpora.corpus import Corpus

layouts: Registry[Callable[..., Corpus]] = Registry("layout", "layout", "nmer.corpora.layouts")
layout = layouts.register


def check_classes(declaration: Declaration, classes: Sequence[str] | None, where: str) -> None:
    """Raise ConfigError if the classes given are not those that the layout defines, in its label order.

    classes: names in label order, None = the layout's own. where: the key that gives them.
    """
    own = declaration.attributes.get("classes")
    if own and classes is not None and list(classes) != list(own):
        raise ConfigError(
            f"{where}: layout '{declaration.name}' defines its labels as {numbered(own)}; {', '.join(classes)} would "
            "rename them. Remove the key."
        )


def check_target(declaration: Declaration, section: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError if a dataset has scores as its target, and a layout or a key that knows classes alone.

    section: of the dataset. where: its key."""
    if section.get("target", CLASSES) != SCORE:
        return
    if SCORE not in declaration.attributes.get("targets", (CLASSES,)):
        raise ConfigError(f"{where}.target: layout '{declaration.name}' holds classes, no scores. Remove the key.")
    if section.get("classes"):
        raise ConfigError(f"{where}.classes: a dataset with 'target: score' has no classes. Remove one of the keys.")


def numbered(classes: Sequence[str]) -> str:
    """Classes with their label numbers, for messages: ``0 = negative, 1 = positive``."""
    return ", ".join(f"{number} = {name}" for number, name in enumerate(classes))


def missing_modalities(found: Iterable[str], key: str) -> str:
    """What to do where a corpus has fewer modalities than its dataset declares, as sentences that end a message.

    found: the modalities that are there. key: the one that declares them."""
    own = modality_set(found)
    remedy = "Complete the corpus."
    if own:
        listed = ", ".join(own)
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
    """The files that a layout reads from a corpus, sorted; reads only the layout's declaration and folder listings.

    source: the dataset's folder, or its file where the layout declares no files. file: a user's own layout file.
    modalities: those of the dataset. key: the one that declares them, for messages. options: of the layout.
    Raises DataError naming the missing file or pattern, ConfigError if there is no such layout.
    """
    source = Path(source)
    try:
        source.exists()
    except PermissionError:
        raise DataError(
            f"{source}: a folder above may not be entered (permission denied). Change its permissions."
        ) from None
    attributes = layouts.declaration(layout_name, file).attributes
    required, by_modality = attributes.get("files", ()), attributes.get("modality_files", {})
    if not required and not by_modality:
        if not source.is_file():
            instead = "is a folder" if source.is_dir() else "no such file"
            raise DataError(f"{source}: {instead}. Layout '{layout_name}' reads one file; correct the path.")
        found = {source}
    else:
        optional = attributes.get("optional_files", ())
        found = _files_of_folder(layout_name, source, required, optional)
        found |= _files_of_modalities(source, by_modality, modality_set(modalities), key)
    for option in attributes.get("option_files", ()):
        if name := (options or {}).get(option):
            found.add(_file_of_option(source, name, option))
    for path in sorted(found):
        if not os.access(path, os.R_OK):
            raise DataError(f"{path}: may not be read (permission denied). Change its permissions.")
    return sorted(found)


def _files_of_folder(
    layout_name: str, source: Path, required: Iterable[str | tuple[str, ...]], optional: Iterable[str]
) -> set[Path]:
    if not source.is_dir():
        instead = "is a file" if source.is_file() else "no such folder"
        raise DataError(f"{source}: {instead}. Layout '{layout_name}' reads a folder; correct the path.")
    if not os.access(source, os.R_OK | os.X_OK):
        raise DataError(f"{source}: may not be listed or entered (permission denied). Change its permissions.")
    found: set[Path] = set()
    for pattern in required:
        alternatives = (pattern,) if isinstance(pattern, str) else pattern
        matches = next(filter(None, (_matches(source, one) for one in alternatives)), None)
        if not matches:
            others = "".join(f" (or {other})" for other in alternatives[1:])
            absent = f"{source / alternatives[0]}{others}: no such file."
            raise DataError(f"{absent} Layout '{layout_name}' needs it; complete the corpus.")
        found |= matches
    for pattern in optional:
        found |= _matches(source, pattern)
    return found


def option_file(source: Path, name: str) -> Path:
    """The file that an option names, relative to the corpus' folder. source: the corpus, a folder or a file."""
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
    there = [m for m, files in matches.items() if files and m in modalities]
    for m in modalities:
        if m in matches and not matches[m]:
            raise DataError(f"{source / patterns[m]}: no such file. {missing_modalities(there, key)}")
    return {path for m in there for path in matches[m]}


def relative_name(file: Path, source: Path) -> str:
    """Name of a source file as stored and reported: relative to the corpus' folder, with forward slashes."""
    folder = source if source.is_dir() else source.parent
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name


def _matches(folder: Path, pattern: str) -> set[Path]:
    return {path for path in folder.glob(pattern) if path.is_file()}
