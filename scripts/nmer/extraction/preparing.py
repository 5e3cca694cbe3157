"""Preparation of an extraction job: extractor, options, models, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmer.digests import file_digest
from nmer.extraction.chunk import Work
from nmer.extraction.packages import check_packages, versions, weights, weights_file
from nmer.extraction.registry import Extracted, extractors
from nmer.extraction.step_settings import ExtractSettings, check_declaration, path_files, resolved_options
from nmer.fingerprint import fingerprint

STEP = "extract.py"
"""The step whose code the features depend on."""


def prepare(settings: ExtractSettings, root: Path, data: Path, needed: bool) -> tuple[Work, dict[str, Any]]:
    """Return what a job needs for extraction, and the metadata of its output.

    needed: whether there is anything to extract; if not, no package is required. Raises ConfigError for a missing
    package, model or option.
    """
    where = f"datasets.{settings.dataset}.raw.{settings.modality}"
    declaration = extractors.declaration(settings.extractor, settings.file)
    check_declaration(declaration, settings.modality, where)
    declaration.check_options(settings.options, where)
    options = resolved_options(declaration, {**declaration.options, **settings.options}, data, where)
    if needed:
        check_packages(declaration, where)
    given_options = {**declaration.options, **settings.options}
    metadata = {
        "extractor": settings.extractor,
        "options": given_options,
        "licence": declaration.attributes["licence"],
        "versions": versions(declaration),
    }
    models = [file_digest(path) for path in path_files(declaration, options)]
    if needed:
        models += [file_digest(weights_file(*each)) for each in weights(declaration).items()]
    # Paths are replaced by digests of their files.
    paths = declaration.attributes.get("paths", ())
    dependencies = metadata | {"options": {key: value for key, value in given_options.items() if key not in paths}}
    dependencies |= {"models": models, "code": fingerprint(STEP, (declaration.file,))}
    needs = tuple(declaration.attributes.get("needs", ()))
    extract = extractors.load(settings.extractor, settings.file) if needed else _not_needed
    return Work(extract, options, needs, dependencies, root, declaration.file), metadata


def _not_needed(*_arguments: Any, **_options: Any) -> Extracted:
    raise AssertionError("there is nothing to extract")
