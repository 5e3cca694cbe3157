"""What a job extracts with, before it starts: extractor, options, models, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmer.digests import file_digest
from nmer.extraction.chunk import Work
from nmer.extraction.packages import check_packages, versions, weights, weights_file
from nmer.extraction.registry import Extracted, extractors
from nmer.extraction.settings import ExtractSettings, check_declaration, path_files, resolved_options
from nmer.fingerprint import fingerprint

STEP = "extract.py"
"""The step whose code features depend on."""


def prepare(settings: ExtractSettings, root: Path, data: Path, needed: bool) -> tuple[Work, dict[str, Any]]:
    """What a job extracts with, and what its output says about itself.

    needed: whether there is anything to extract; without it no package is needed. Raises ConfigError for a missing
    package, model or option.
    """
    where = f"datasets.{settings.dataset}.raw.{settings.modality}"
    declaration = extractors.declaration(settings.extractor, settings.file)
    check_declaration(declaration, settings.modality, where)
    declaration.check_options(settings.options, where)
    options = resolved_options(declaration, {**declaration.options, **settings.options}, data, where)
    if needed:
        check_packages(declaration, where)
    shown = {**declaration.options, **settings.options}
    about = {
        "extractor": settings.extractor,
        "options": shown,
        "licence": declaration.attributes["licence"],
        "versions": versions(declaration),
    }
    models = [file_digest(path) for path in path_files(declaration, options)]
    if needed:
        models += [file_digest(weights_file(*each)) for each in weights(declaration).items()]
    # A path's name says nothing about what it leads to.
    paths = declaration.attributes.get("paths", ())
    depends = about | {"options": {key: value for key, value in shown.items() if key not in paths}}
    depends |= {"models": models, "code": fingerprint(STEP, (declaration.file,))}
    needs = tuple(declaration.attributes.get("needs", ()))
    extract = extractors.load(settings.extractor, settings.file) if needed else _nothing
    return Work(extract, options, needs, depends, root), about


def _nothing(*_arguments: Any, **_options: Any) -> Extracted:
    raise AssertionError("there is nothing to extract")
