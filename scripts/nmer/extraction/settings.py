"""Settings of the steps of extraction, and checks of an extractor's declaration and options, for the plan and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmer.errors import ConfigError, DataError
from nmer.extraction.lists import chunk_of
from nmer.extraction.registry import NEEDS, Listing, Utterance, sources
from nmer.plugins import Declaration

SECTION_KEYS = ("extractor", "file")
"""Keys of a modality's section that are no options of its extractor."""

LICENCES = ("free", "research", "unclear")


@dataclass(frozen=True)
class SourceSettings:
    """Where the utterances of a dataset come from. source: name of a plug-in; file: a custom one.

    state: changes with rows and media; the records beside the results keep it, so that the plan can compare it.
    """

    dataset: str
    source: str = "table"
    chunks: int = 16
    file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""


@dataclass(frozen=True)
class ExtractSettings:
    """How a modality of a chunk is extracted.

    source: settings of the source, as a mapping. chunk: number from 0. state: as of :class:`SourceSettings`, of the
    chunk's rows, media and models.
    """

    dataset: str
    modality: str
    extractor: str
    chunk: int = 0
    file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""

    def utterances(self, root: Path) -> list[Utterance]:
        """The utterances of the chunk."""
        source = SourceSettings(self.dataset, **self.source)
        listed = list_utterances(source, root).utterances
        return [each for each in listed if chunk_of(each, source.chunks) == self.chunk]


@dataclass(frozen=True)
class JoinSettings:
    """How a corpus is put together. on_failure: ``drop`` or ``zeros``. max_failed: share of utterances in 0..1."""

    dataset: str
    modalities: tuple[str, ...]
    on_failure: str = "drop"
    max_failed: float = 0.05
    speaker_folds: bool = False


def list_utterances(settings: SourceSettings, root: Path) -> Listing:
    """The utterances of a dataset. Raises DataError if there are none or the source cannot be read."""
    listing = sources.load(settings.source, settings.file)(root, **settings.options)
    if not listing.utterances:
        raise DataError(f"{root}: the source '{settings.source}' lists no utterance of these classes.")
    return listing


def check_declaration(declaration: Declaration, modality: str, where: str) -> None:
    """Raise ConfigError if an extractor is declared wrongly or is of another modality. where: its key."""
    attributes = declaration.attributes
    if (own := attributes.get("modality")) != modality:
        raise ConfigError(
            f"{where}: extractor '{declaration.name}' is of modality {own}, not {modality}. Choose another."
        )
    needs = attributes.get("needs", ())
    if not set(needs) <= set(NEEDS) or {"audio", "video"} <= set(needs):
        raise ConfigError(f"{declaration.file}: needs may hold audio or video, and text; found {needs!r}.")
    if "video" in needs and "fps" not in declaration.options:
        raise ConfigError(f"{declaration.file}: an extractor of video needs an option fps, pictures a second.")
    if attributes.get("licence") not in LICENCES:
        raise ConfigError(f"{declaration.file}: licence must be one of {', '.join(LICENCES)}.")


def resolved_options(declaration: Declaration, options: Mapping[str, Any], data: Path, where: str) -> dict[str, Any]:
    """The options of an extractor with paths as they are from here.

    data: what paths are relative to. Raises ConfigError, naming the key below ``where``, if a required one is absent or
    a path leads to nothing.
    """
    resolved = dict(options)
    for name in declaration.attributes.get("required", ()):
        if not resolved.get(name):
            raise ConfigError(f"{where}: extractor '{declaration.name}' needs the key '{name}'. Add it.")
    for name in declaration.attributes.get("paths", ()):
        if resolved.get(name):
            path = data / Path(str(resolved[name])).expanduser()
            if not path.exists():
                raise ConfigError(f"{where}.{name}: {path} does not exist. Put it there, or correct the path.")
            resolved[name] = str(path)
    return resolved


def path_files(declaration: Declaration, options: Mapping[str, Any]) -> list[Path]:
    """Every file behind the paths among the (resolved) options of an extractor, sorted."""
    files: list[Path] = []
    for name in declaration.attributes.get("paths", ()):
        path = Path(options.get(name) or "")
        if options.get(name):
            files += [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return files
