"""Settings of the extraction steps, and checks of the declaration and options of an extractor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmer.errors import ConfigError, DataError
from nmer.extraction.lists import chunk_number
from nmer.extraction.registry import NEEDS, Listing, Utterance, sources
from nmer.plugins import Declaration, report_failures

SECTION_KEYS = ("extractor", "file")
"""Keys of a modality's section that are not options of its extractor."""

LICENCES = ("free", "research", "unclear")


@dataclass(frozen=True)
class SourceSettings:
    """The source of a dataset's utterances. source: name of a plug-in. file: file of a custom plug-in.

    state: digest of rows and media, kept in the records next to the results for comparison by the plan.
    """

    dataset: str
    source: str = "table"
    chunks: int = 16
    file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of the extraction of one modality of one chunk.

    source: settings of the source, as a mapping. chunk: number from 0. state: digest of the chunk's rows, media and
    models, as in :class:`SourceSettings`.
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
        """Return the utterances of the chunk."""
        source = SourceSettings(self.dataset, **self.source)
        listed = list_utterances(source, root).utterances
        return [each for each in listed if chunk_number(each, source.chunks) == self.chunk]


@dataclass(frozen=True)
class JoinSettings:
    """Settings of joining a corpus. on_failure: ``drop`` or ``zeros``. max_failed: share of utterances in 0..1."""

    dataset: str
    modalities: tuple[str, ...]
    on_failure: str = "drop"
    max_failed: float = 0.05
    speaker_folds: bool = False


def list_utterances(settings: SourceSettings, root: Path) -> Listing:
    """List the utterances of a dataset.

    Raises DataError if there are none or the source cannot be read, ConfigError if a custom source fails.
    """
    read = sources.load(settings.source, settings.file)
    if settings.file:
        read = report_failures(read, settings.file, sources.sort)
    listing: Listing = read(root, **settings.options)
    if not listing.utterances:
        raise DataError(
            f"{root}: the source '{settings.source}' lists no utterances of these classes. Correct the table."
        )
    return listing


def check_declaration(declaration: Declaration, modality: str, where: str) -> None:
    """Raise ConfigError if a declaration is invalid or of another modality. where: the key of the extractor."""
    attributes = declaration.attributes
    if (declared := attributes.get("modality")) != modality:
        raise ConfigError(
            f"{where}: extractor '{declaration.name}' is of modality {declared}, not {modality}. Choose another."
        )
    needs = attributes.get("needs", ())
    if not set(needs) <= set(NEEDS) or {"audio", "video"} <= set(needs):
        raise ConfigError(
            f"{declaration.file}: needs can contain audio or video, and text; found {needs!r}. Correct it."
        )
    if "video" in needs and "fps" not in declaration.options:
        raise ConfigError(
            f"{declaration.file}: an extractor of video needs an option fps, pictures per second. Add it."
        )
    if attributes.get("licence") not in LICENCES:
        raise ConfigError(f"{declaration.file}: licence must be one of {', '.join(LICENCES)}. Correct it.")


def resolved_options(declaration: Declaration, options: Mapping[str, Any], data: Path, where: str) -> dict[str, Any]:
    """Resolve the paths among the options of an extractor.

    data: folder that paths are relative to. Raises ConfigError that names the key below ``where`` if a required option
    is absent or a path does not exist.
    """
    resolved = dict(options)
    for name in declaration.attributes.get("required", ()):
        if not resolved.get(name):
            raise ConfigError(f"{where}: extractor '{declaration.name}' needs the key '{name}'. Add it.")
    for name in declaration.attributes.get("paths", ()):
        if resolved.get(name):
            path = data / Path(str(resolved[name])).expanduser()
            if not path.exists():
                get = declaration.attributes.get("get", {}).get(name)
                hint = f"Get {get}, or correct the path." if get else "Put it there, or correct the path."
                raise ConfigError(f"{where}.{name}: {path} does not exist. {hint}")
            resolved[name] = str(path)
    return resolved


def path_files(declaration: Declaration, options: Mapping[str, Any]) -> list[Path]:
    """Return all files behind the resolved path options of an extractor, sorted."""
    files: list[Path] = []
    for name in declaration.attributes.get("paths", ()):
        path = Path(options.get(name) or "")
        if options.get(name):
            files += [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return files
