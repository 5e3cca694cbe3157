"""Datasets of raw media in the plan: checks, defaults and dependencies of the extraction jobs.

The utterances of a source are listed during planning, so that a changed row, clip or model makes only its own chunk
due. Media are read again only if their size or times changed since they were listed.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

from nmer.digests import DIGEST_SUFFIX
from nmer.errors import ConfigError, DataError, nearest
from nmer.extraction.generated import PACKAGES as GENERATOR_PACKAGES
from nmer.extraction.generated import MediaSettings, generated_utterances
from nmer.extraction.lists import MediaDigests, chunk_number, media_names, rows_digest, text_digest
from nmer.extraction.packages import check_modules, check_packages
from nmer.extraction.registry import Listing, Utterance, extractors, sources
from nmer.extraction.step_settings import (
    SECTION_KEYS,
    SourceSettings,
    check_declaration,
    list_utterances,
    path_files,
    resolved_options,
)
from nmer.names import MODALITIES, modality_set
from nmer.plan.reserved import refuse_reserved
from nmer.plan.sources import MEMORY, source_digests
from nmer.plugins import Declaration

LAYOUT = "ragged_hdf5"
"""Layout of extracted corpora."""

EXTRACTED = Path("results/extracted")
MEDIA = Path("results/media")
OWN_KEYS = ("source", "file", "path", "generate", "chunks", "on_failure", "max_failed", *MODALITIES)
"""Keys of the section ``raw`` that are not options of its source."""

EXCLUDED = ("path", "layout", "download", "file", "paper_name")
"""Keys of a dataset that ``raw`` replaces or excludes."""

BYTES_PER_UTTERANCE = 100_000
"""Estimated size of the features of one utterance before extraction."""

MEMORY_MB = {"a": 1000, "v": 1500, "l": 4000}
MINUTES_PER_GIGABYTE = {"a": 30, "v": 120, "l": 0}
MINUTES_PER_UTTERANCE = {"a": 0.01, "v": 0.05, "l": 0.02}
"""Generous time limit of a job by the size of its media."""


def with_raw_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the experiment's raw datasets have the keys that later stages read.

    These are layout, modalities and folds. Raises ConfigError for a key that excludes ``raw``, or an unknown source.
    """
    run = config["experiments"].get(config["experiment"], {}).get("datasets", ())
    datasets = {
        name: _with_defaults(name, section) if "raw" in section and name in run else section
        for name, section in config["datasets"].items()
    }
    return {**config, "datasets": datasets}


def _with_defaults(name: str, section: dict[str, Any]) -> dict[str, Any]:
    raw, where = section["raw"], f"datasets.{name}"
    for key in EXCLUDED:
        if key in section:
            reason = (
                "features are extracted from raw media" if key != "paper_name" else "the paper used different features"
            )
            raise ConfigError(f"{where}: '{key}' and 'raw' exclude each other because {reason}. Remove one.")
    own = modality_set(raw)
    if not own:
        raise ConfigError(f"{where}.raw: has no extractor. Add a section a, v or l, e.g. a: {{extractor: prosody}}.")
    if modality_set(section.get("modalities", own)) != own:
        raise ConfigError(f"{where}.modalities: raw has extractors for {', '.join(own)}. Make the two agree.")
    declaration = _source_declaration(raw, where)
    completed: dict[str, Any] = {"layout": LAYOUT, "modalities": list(own)}
    if "folds" in declaration.attributes:
        completed["folds"] = declaration.attributes["folds"]
    options = {**declaration.attributes.get("layout_options", {}), **section.get("options", {})}
    return {**completed, **section, **({"options": options} if options else {})}


def _source_declaration(raw: dict[str, Any], where: str) -> Declaration:
    try:
        return refuse_reserved(sources.declaration(raw.get("source", SourceSettings.source), raw.get("file")), OWN_KEYS)
    except ConfigError as error:
        raise ConfigError(f"{where}.raw.source: {error}") from None


class RawDataset:
    """One dataset of raw media."""

    def __init__(self, name: str, section: dict[str, Any], data: str) -> None:
        """section: that of the dataset, with defaults. data: the folder that paths are relative to."""
        self.name, self.raw, self.data = name, section["raw"], Path(data)
        self.where = f"datasets.{name}.raw"
        self.modalities = modality_set(section["modalities"])
        self.chunks: int = self.raw.get("chunks", SourceSettings(name).chunks)
        self.folder = EXTRACTED / name
        self.corpus = EXTRACTED / f"{name}.h5"

        self.generated: MediaSettings | None = None
        if "generate" in self.raw:
            self.generated = MediaSettings.from_mapping(name, self.raw["generate"])

    @property
    def root(self) -> Path:
        """The folder of the media."""
        return MEDIA / self.name if self.generated else self.data / str(self.raw.get("path", self.name))

    @property
    def models(self) -> Path:
        """The folder that paths in options of extractors are relative to. Generated vectors are with the media."""
        return self.root if self.generated else self.data

    def check(self) -> None:
        """Raise ConfigError or DataError, naming the key, for anything that would stop the extraction jobs."""
        declaration = _source_declaration(self.raw, f"datasets.{self.name}")
        for key in self._source_options:
            if key not in declaration.options:
                raise ConfigError(
                    f"{self.where}: unknown key '{key}'. {nearest(key, [*OWN_KEYS, *declaration.options])}"
                )
        declaration.check_options(self._source_options, self.where)
        for modality in self.modalities:
            declared, where = self.extractor(modality), f"{self.where}.{modality}"
            check_declaration(declared, modality, where)
            declared.check_options(self._options(modality), where)
            if not self.generated:
                resolved_options(declared, self._options(modality), self.models, where)
            if not self.corpus.exists():
                check_packages(declared, where)
        if self.generated:
            if self.raw.get("source", SourceSettings.source) != SourceSettings.source or "path" in self.raw:
                raise ConfigError(f"{self.where}: 'generate' makes media with a table. Remove 'source' and 'path'.")
            if not self.corpus.exists():
                check_modules(GENERATOR_PACKAGES, f"{self.where}.generate")
        elif not self.root.is_dir():
            raise DataError(
                f"{self.where}.path: {self.root} is not a folder. Set it to the folder of the media, relative to the "
                "folder given by 'data' (--config data=...)."
            )
        self._check_needs()

    def _check_needs(self) -> None:
        """Raise DataError if no utterance has the data that a modality's extractor reads."""
        for modality in self.modalities:
            for need in self.extractor(modality).attributes.get("needs", ()):
                if not any(getattr(utterance, need) for utterance in self.listing.utterances):
                    raise DataError(
                        f"{self.where}.{modality}: no utterance has {need}, which its extractor reads. Add it to the "
                        "table of utterances, or remove the section."
                    )

    @cached_property
    def listing(self) -> Listing:
        """The list of utterances."""
        if self.generated:
            return Listing(generated_utterances(self.generated), ("speaker",))
        return list_utterances(SourceSettings(self.name, **self._source), self.root)

    def extractor(self, modality: str) -> Declaration:
        """Return the declaration of a modality's extractor. Raises ConfigError, naming the key, if there is none."""
        section = self.raw[modality]
        try:
            return refuse_reserved(extractors.declaration(section["extractor"], section.get("file")), SECTION_KEYS)
        except ConfigError as error:
            raise ConfigError(f"{self.where}.{modality}.extractor: {error}") from None

    def _options(self, modality: str) -> dict[str, Any]:
        return {key: value for key, value in self.raw[modality].items() if key not in SECTION_KEYS}

    @property
    def _source_options(self) -> dict[str, Any]:
        return {key: value for key, value in self.raw.items() if key not in OWN_KEYS}

    @property
    def _source(self) -> dict[str, Any]:
        source = {"source": self.raw.get("source", SourceSettings.source), "file": self.raw.get("file")}
        return {key: value for key, value in source.items() if value is not None} | {"options": self._source_options}

    def plugins(self, modality: str | None) -> list[Path]:
        """Return the plug-ins that a job loads: the source, and the extractor of a modality."""
        own = [self.extractor(modality).file] if modality else []
        return [*own, _source_declaration(self.raw, f"datasets.{self.name}").file]

    # Files

    def generated_digest(self) -> list[str]:
        """Return the digest file of generated media; empty for the user's media."""
        return [f"{self.root}{DIGEST_SUFFIX}"] if self.generated else []

    def chunk_files(self) -> list[Path]:
        """Return the features of every chunk, grouped by modality."""
        return [self.folder / m / f"{chunk}.h5" for m in self.modalities for chunk in range(self.chunks)]

    # Settings

    def list_settings(self) -> dict[str, Any]:
        """Settings of the list of utterances."""
        return {"dataset": self.name, "chunks": self.chunks, **self._source}

    def extract_settings(self, modality: str, chunk: int | str) -> dict[str, Any]:
        """Settings of the job of one modality of a chunk."""
        section, declared = self.raw[modality], self.extractor(modality)
        options = {key: value for key, value in self._options(modality).items() if value != declared.options[key]}
        return {
            "dataset": self.name,
            "modality": modality,
            "extractor": section["extractor"],
            "chunk": int(chunk),
            **({"file": section["file"]} if "file" in section else {}),
            **({"options": options} if options else {}),
            "source": {"chunks": self.chunks, **self._source},
        }

    def join_settings(self) -> dict[str, Any]:
        """Settings of the corpus."""
        changed = {key: self.raw[key] for key in ("on_failure", "max_failed") if key in self.raw}
        folds = {"speaker_folds": True} if self.listing.speaker_folds else {}
        return {"dataset": self.name, "modalities": list(self.modalities), **changed, **folds}

    # States, which change with media, rows or models

    def list_state(self) -> str:
        """Return a digest that changes with any row or media file."""
        return rows_digest(self._row(each, ("audio", "video", "text")) + self._labels(each) for each in self._rows)

    def chunk_state(self, modality: str, chunk: int | str) -> str:
        """Return a digest that changes with a clip, a model, or a value in the chunk's rows that the modality reads."""
        needs = tuple(self.extractor(modality).attributes.get("needs", ()))
        rows = self._chunks.get(int(chunk), [])
        return rows_digest([*(self._row(each, needs) for each in rows), self._models(modality)])

    def _models(self, modality: str) -> list[object]:
        if self.generated:
            return []
        declared = self.extractor(modality)
        files = path_files(declared, resolved_options(declared, self._options(modality), self.models, self.where))
        return [*sorted(source_digests(files, MEMORY).values())] if files else []

    @cached_property
    def _chunks(self) -> dict[int, list[Utterance]]:
        chunks: dict[int, list[Utterance]] = {}
        for utterance in self._rows:
            chunks.setdefault(chunk_number(utterance, self.chunks), []).append(utterance)
        return chunks

    @property
    def _rows(self) -> list[Utterance]:
        return self.listing.utterances

    def _row(self, each: Utterance, needs: tuple[str, ...]) -> list[object]:
        row: list[object] = [each.id, each.recording]
        if "audio" in needs:
            row += [
                each.audio,
                self._token(each.audio),
                *((None, None) if each.audio_is_cut else (each.start, each.end)),
            ]
        if "video" in needs:
            row += [each.video, self._token(each.video), each.start, each.end, each.side]
        if "text" in needs:
            row.append(text_digest(each.text))
        return row if needs else [*row, each.start, each.end]

    @staticmethod
    def _labels(each: Utterance) -> list[object]:
        return [each.label, each.speaker, each.split, each.fold]

    def _token(self, name: str) -> str:
        return self._tokens[name] if name else ""

    @cached_property
    def _tokens(self) -> dict[str, str]:
        if self.generated:  # the jobs have their digests as an input
            return dict.fromkeys(media_names(self._rows), "")
        memory = MediaDigests(self.memory, self.root)
        tokens = {name: memory.token(name) for name in media_names(self._rows)}
        memory.save()
        return tokens

    @property
    def memory(self) -> Path:
        """The file that remembers digests of media."""
        return self.folder / ".media.json"

    # Resources

    def minutes(self, modality: str, chunk: int | str) -> int:
        """Return the time limit of a job, from the size of its media and the number of its utterances."""
        rows = self._chunks.get(int(chunk), [])
        need = "video" if modality == "v" else "audio"
        files = [self.root / name for name in {getattr(each, need) for each in rows} if name]
        size = sum(path.stat().st_size for path in files if path.is_file())
        more: float = MINUTES_PER_GIGABYTE[modality] * size / 1e9 + MINUTES_PER_UTTERANCE[modality] * len(rows)
        return 20 + math.ceil(more)

    def raw_size(self) -> int:
        """Return the size of the corpus in bytes, estimated before its file exists."""
        if self.corpus.exists():
            return self.corpus.stat().st_size
        return len(self.listing.utterances) * BYTES_PER_UTTERANCE
