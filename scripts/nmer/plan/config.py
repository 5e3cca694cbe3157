"""Check the configuration: schema, names, options and files, with one message per fault that names its key.

The schema (``workflow/schemas/config.schema.yaml``) defines the shape. Everything else (known systems, their options,
existing files) is checked here, before any job starts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from nmer.corpora.corpus import check_undeclared
from nmer.corpora.demo import DemoSettings
from nmer.corpora.download_list import download_list
from nmer.corpora.registry import check_classes, check_target, layouts, source_files
from nmer.errors import ConfigError, DataError, nearest
from nmer.figures import figures, sources, unread
from nmer.names import DATA_FOLDER, MODALITIES, REGIMES, UNIMODAL_SYSTEMS, incomplete_conditions, modality_set
from nmer.noise.registry import has_snr
from nmer.noise.schedule import Schedule
from nmer.plan.corruptions import OWN_KEYS, check_levels, check_studies, declaration_of
from nmer.plan.prediction_targets import check_targets
from nmer.plan.reserved import refuse_reserved
from nmer.plan.settings import merged_training, training_settings
from nmer.plan.sweeps import TRAINING, expanded
from nmer.plan.values import check_finite, check_values
from nmer.plan.variants import check_kinds, check_section, check_sections, check_titles, declared, file_of, kind_of
from nmer.plugins import Declaration
from nmer.references.registry import REFERENCES
from nmer.systems.registry import regimes, systems

SCHEMA = Path(__file__).resolve().parents[3] / "workflow" / "schemas" / "config.schema.yaml"


_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
"""Types of the schema in a user's words."""

NO_EPOCH = "constant_epochs and decay_epochs are both 0. Train for one epoch at least."


def check_config(config: dict[str, Any]) -> dict[str, Any]:
    """Check a whole configuration; return it with the variants of its experiment's sweep added to the systems.

    Raises ConfigError, or DataError for a missing corpus.
    """
    check_values(config)
    check_shape(config)
    config = expanded(config, _check_training_values)
    name = config["experiment"]
    experiment = _member(config["experiments"], name, "experiment", "experiments")
    where = f"experiments.{name}"
    _check_epochs(config.get("training", {}), experiment.get("training", {}), where)
    for dataset, section in config["datasets"].items():
        if "layout" not in section and "raw" not in section:
            raise ConfigError(f"datasets.{dataset}: missing key 'layout'. Add it, or 'raw' for raw media.")
        _check_download(dataset, section)
    for dataset in experiment["datasets"]:
        _member(config["datasets"], dataset, f"{where}.datasets", "datasets")
        _check_dataset(config, dataset)
    _check_systems(config, experiment, where)
    if reference := experiment.get("reference"):
        compared = [name for name in experiment["systems"] if name not in UNIMODAL_SYSTEMS]
        if reference not in compared:
            raise ConfigError(
                f"{where}.reference: '{reference}' is not a multimodal system of {where}.systems. "
                f"{nearest(reference, compared)}"
            )
    _check_conditions(config["datasets"], experiment, f"{where}.conditions")
    for other in experiment.get("compare_with", []):
        _member(config["experiments"], other, f"{where}.compare_with", "experiments")
        if other == name:
            raise ConfigError(f"{where}.compare_with: '{other}' is the experiment itself. Name another one.")
    _check_figures(config.get("figures", {}), experiment.get("figures", []), f"{where}.figures")
    check_targets(config, experiment, where)
    if 4 not in experiment.get("tables", [4]):
        for system in UNIMODAL_SYSTEMS:
            if system in experiment["systems"]:
                raise ConfigError(f"{where}.systems: '{system}' is only run for Table 4. Add 4 to tables.")
    for noise in experiment.get("embedding", {}).get("noise", []):
        if noise not in experiment["noise"]:
            hint = nearest(noise, experiment["noise"])
            raise ConfigError(f"{where}.embedding.noise: '{noise}' is not in the experiment's noise. {hint}")
    for dataset in experiment.get("unimodal", {}).get("datasets", []):
        if dataset not in experiment["datasets"]:
            hint = nearest(dataset, experiment["datasets"])
            raise ConfigError(f"{where}.unimodal.datasets: '{dataset}' is not in the experiment's datasets. {hint}")
    noise = config.get("noise", {})
    _check_noise(noise.get("kinds", {}), experiment, where)
    check_studies(config, experiment, where)
    check_finite(config)
    Schedule(noise.get("beta_start", Schedule.beta_start), noise.get("beta_end", Schedule.beta_end))  # checks them
    return config


def _check_training_values(training: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError for training keys that the schema refuses."""
    error = best_match(_validator().evolve(schema=schema()["$defs"]["training"]).iter_errors(training))
    if error is not None:
        key = where.removesuffix(f".{TRAINING}{error.absolute_path[0]}") if error.absolute_path else where
        raise ConfigError(f"{key}.{TRAINING}{explain(error)}" if error.absolute_path else f"{where}: {explain(error)}")


def _check_conditions(datasets: dict[str, Any], experiment: dict[str, Any], where: str) -> None:
    """Raises ConfigError for a listed condition that no corpus has, and for a corpus that has none of them."""
    if not (chosen := experiment.get("conditions")):
        return
    possible = {name: incomplete_conditions(declared_modalities(datasets[name])) for name in experiment["datasets"]}
    for condition in chosen:
        if not any(condition in own for own in possible.values()):
            some = list(dict.fromkeys(name for own in possible.values() for name in own))
            raise ConfigError(
                f"{where}: no dataset of the experiment has the incomplete condition '{condition}'. "
                f"{nearest(condition, some)}"
            )
    for dataset, own in possible.items():
        if own and not set(own) & set(chosen):
            raise ConfigError(
                f"{where}: none of them is an incomplete condition of dataset '{dataset}', which has {', '.join(own)}. "
                "Add one, or remove the dataset."
            )


def _check_systems(config: dict[str, Any], experiment: dict[str, Any], where: str) -> None:
    """Check the systems of the configuration and of the experiment, and its overrides."""
    sections: dict[str, Any] = config.get("systems", {})
    general = merged_training(config.get("training", {}), experiment.get("training", {}))

    def check_training(training: Mapping[str, Any], key: str) -> None:
        if "keep_models" in training:
            raise ConfigError(f"{key}: keep_models belongs in the section training. Move it there.")
        own = {name: value for name, value in training.items() if name != "pretraining"}
        stage = training.get("pretraining", {})
        if own and not replace(training_settings(general), **own).epochs:
            raise ConfigError(f"{key}: {NO_EPOCH}")
        if stage and not replace(training_settings(general, pretraining=True), **stage).epochs:
            raise ConfigError(f"{key}.pretraining: {NO_EPOCH}")

    trained = [name for name in experiment["systems"] if name not in REFERENCES]
    if not trained:
        raise ConfigError(f"{where}.systems: contains only reference rows. Add a system to compare with them.")
    check_kinds(sections)
    declarations = {}
    for system in trained:
        try:
            declarations[system] = declared(sections, system)
        except ConfigError as error:
            key = f"{where}.systems" if kind_of(sections, system) == system else f"systems.{system}.kind"
            raise ConfigError(f"{key}: {error}") from None
    check_sections(sections, check_training)
    check_titles(sections, experiment["systems"])
    files = {name: file for name in sections if (file := file_of(sections, name))}
    for system, declaration in declarations.items():
        key = f"{where}.systems" if declaration.name == system else f"systems.{system}.kind"
        _check_declaration(declaration, key, files)
    place = f"{where}.system_options"
    for system, section in experiment.get("system_options", {}).items():
        for key in ("file", "kind", "title"):
            if key in section:
                raise ConfigError(f"{place}.{system}: '{key}' belongs in systems.{system}. Move it there.")
        try:
            declaration = declared(sections, system)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from None
        check_section(section, declaration, f"{place}.{system}", check_training)


def _check_figures(section: dict[str, Any], names: Sequence[str], where: str) -> None:
    """Check the figures of the configuration and of the experiment, their options and their sources."""
    for name in dict.fromkeys([*names, *section]):
        figure = section.get(name, {})
        try:
            declaration = refuse_reserved(figures.declaration(name, figure.get("file")), ("file",))
        except ConfigError as error:
            raise ConfigError(f"{where if name in names else 'figures'}: {error}") from None
        declaration.check_options({key: value for key, value in figure.items() if key != "file"}, f"figures.{name}")
        sources(declaration)
        unread(declaration)


def _check_epochs(general: dict[str, Any], special: dict[str, Any], where: str) -> None:
    """Raises ConfigError for a training or pretraining without an epoch."""
    merged = merged_training(general, special)
    for name, pretraining in (("training", False), ("training.pretraining", True)):
        if not training_settings(merged, pretraining).epochs:
            key = f"{where}.{name}" if special else name
            raise ConfigError(f"{key}: {NO_EPOCH}")


def _check_noise(section: dict[str, Any], experiment: dict[str, Any], where: str) -> None:
    """Check the noise kinds of the configuration and of the experiment, and that every kind with an SNR has levels."""
    for name in dict.fromkeys([*section, *experiment["noise"]]):
        kind = section.get(name, {})
        key = f"noise.kinds.{name}" if name in section else f"{where}.noise"
        try:
            declaration = declaration_of(section, name)
        except ConfigError as error:
            hint = "" if name in section else " Or define it in noise.kinds."
            raise ConfigError(f"{key}: {error}{hint}") from None
        options = {option: value for option, value in kind.items() if option not in OWN_KEYS}
        declaration.check_options(options, key)
    with_snr = [name for name in experiment["noise"] if has_snr(declaration_of(section, name))]
    alone = UNIMODAL_SYSTEMS.keys() & set(experiment["systems"])
    if alone and "snr_db" in experiment.get("unimodal", {}) and not with_snr:
        raise ConfigError(f"{where}.unimodal.snr_db: no noise kind of the experiment has an SNR. Remove the list.")
    check_levels(section, experiment, where)


def name_sources(message: str, sources: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Add the names of the merged sources, and of those that contain the key, to a message about a configuration.

    sources: name and content of each file, and of ``--config``, in the order of merging.
    """
    if len(sources) < 2:
        return message
    names = ", ".join(name for name, _content in sources)
    key, unknown = re.match(r"[\w.]+(?=:)", message), re.search(r"unknown key '([^']+)'", message)
    path = [part for part in (key[0].split(".") if key else []) if part != "config"] + ([unknown[1]] if unknown else [])
    holders = [name for name, content in sources if path and _holds(content, path)]
    place = f" The key is in {' and '.join(holders)}." if holders else ""
    return f"{message} The configuration is merged from {names}.{place}"


def _holds(content: object, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True


def check_shape(config: dict[str, Any]) -> None:
    """Check a configuration only against the schema. Raises ConfigError for the most specific fault."""
    error = best_match(_validator().iter_errors(config))
    if error is not None:
        raise ConfigError(explain(error))


@cache
def schema() -> dict[str, Any]:
    """Read the schema of the configuration."""
    # The loader in C takes a tenth of the time, but PyYAML may have been built without it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=loader)
    return content


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def explain(error: ValidationError) -> str:
    """Return the message for a schema violation: the key, the fault and the remedy."""
    where = ".".join(str(part) for part in error.absolute_path) or "config"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        return f"{where}: unknown key '{unknown}'. {nearest(unknown, known)}"
    value = _short(error.instance)
    if error.validator == "pattern":
        rule = "lower-case letters, digits and underscores, starting with a letter"
        return f"{where}: {value} is not a valid name. Use {rule}."
    if error.validator == "not":
        return f"{where}: the name {value} is reserved for files of the workflow. Choose another."
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{where}: missing key '{missing}'. Add it."
    if error.validator == "type" and error.validator_value == "integer" and _looks_like_a_number(error.instance):
        return f"{where}: {value} is text to YAML, not an integer. Write it without quotes, like 10."
    if error.validator == "type" and _looks_like_a_number(error.instance):
        return f"{where}: {value} is text to YAML, not a {_listed(error.validator_value)}. Write it like 0.001."
    if error.validator == "type":
        return f"{where}: {value} is not of type {_listed(error.validator_value)}. Correct the value."
    if error.validator in ("oneOf", "anyOf"):
        return f"{where}: {value} is not possible. Give {_listed(_possible(error.validator_value))}."
    if error.validator == "enum":
        choices = ", ".join(str(choice) for choice in error.validator_value)
        return f"{where}: {value} is not possible. Choose from: {choices}."
    # The library's message begins with the whole value.
    reason = error.message.replace(repr(error.instance), value)
    return f"{where}: {reason}. Correct the value."


def _possible(schemas: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what each of several schemas allows, in words."""
    values: list[str] = []
    for given in schemas:
        one = schema()["$defs"][given["$ref"].rpartition("/")[2]] if "$ref" in given else given
        if "const" in one or "enum" in one:
            values += [f"'{value}'" for value in one.get("enum", [one.get("const")])]
        else:
            values.append(_TYPES[one["type"]])
    return values


def _listed(words: str | Sequence[str]) -> str:
    """Join alternatives with commas and “or”."""
    if isinstance(words, str):
        return words
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _short(value: object) -> str:
    """Return a value for a message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _looks_like_a_number(value: object) -> bool:
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False


def _member(section: dict[str, Any], name: str, where: str, key: str) -> dict[str, Any]:
    if name not in section:
        raise ConfigError(f"{where}: unknown name '{name}' (not among {key}). {nearest(name, section)}")
    named: dict[str, Any] = section[name]
    return named


def _check_declaration(declaration: Declaration, where: str, files: dict[str, str]) -> None:
    name, attributes = declaration.name, declaration.attributes
    if not regimes(declaration):
        raise ConfigError(f"{where}: '{name}' is a pretraining stage, not a system. Remove it.")
    for regime in regimes(declaration):
        if regime not in REGIMES:
            hint = nearest(regime, REGIMES)
            raise ConfigError(f"{declaration.file}: '{name}' has the unknown regime '{regime}'. {hint}")
    stages = attributes.get("pretraining", "none")
    named = list(next(iter(stages.values())).values()) if isinstance(stages, dict) else [stages]
    try:
        for other in (*named, attributes.get("ablation_of", "none")):
            if other != "none":
                systems.declaration(other, files.get(other))
    except ConfigError as error:
        if other not in files and systems.declares(declaration.file, other):
            raise ConfigError(
                f"systems.{other}: its file is not given, and '{name}' refers to it. "
                f"Add it: systems: {{{other}: {{file: {declaration.file}}}}}."
            ) from None
        raise ConfigError(f"{declaration.file}: '{name}' refers to a name that does not exist. {error}") from None


def declared_modalities(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modalities of a dataset's section, in the order a, v, l. Default all three (SPEC 13)."""
    return modality_set(dataset.get("modalities", MODALITIES))


def _check_dataset(config: dict[str, Any], name: str) -> None:
    dataset = config["datasets"][name]
    if ("path" in dataset) + ("generate" in dataset) + ("raw" in dataset) != 1:
        raise ConfigError(
            f"datasets.{name}: set exactly one of 'path' (your files), 'generate' (synthetic) and 'raw' (raw media)."
        )
    try:
        declaration = layouts.declaration(dataset["layout"], dataset.get("file"))
        declaration.check_options(dataset.get("options", {}), f"datasets.{name}.options")
        check_classes(declaration, dataset.get("classes"), "classes")
        check_target(declaration, dataset, f"datasets.{name}")
        own = declared_modalities(dataset)
        check_undeclared(dataset, own, f"datasets.{name}")
        if "generate" in dataset:
            DemoSettings.from_mapping(
                {"dataset": name, **{key: dataset[key] for key in ("layout", "generate")}, "modalities": own}
            )
        elif "path" in dataset:
            source = Path(config.get("data", DATA_FOLDER)) / dataset["path"]
            key = f"datasets.{name}.modalities"
            source_files(dataset["layout"], source, dataset.get("file"), own, key, dataset.get("options"))
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith("datasets.") else f"datasets.{name}: {text}") from None
    except DataError as error:
        message = f"datasets.{name}: {error} Paths are relative to the folder given by 'data' (--config data=...)."
        if "download" in dataset:
            folder = config.get("data", DATA_FOLDER)
            data = "" if folder == DATA_FOLDER else f" data={shlex.quote(folder)}"
            message += f" Or fetch it: snakemake fetch_{name} --config experiment=demo{data}"
        raise DataError(message) from None


def _check_download(name: str, dataset: dict[str, Any]) -> None:
    """Check the list of addresses of a dataset, for any experiment, because its files can be fetched under any."""
    if "download" in dataset:
        if "path" not in dataset:
            raise ConfigError(
                f"datasets.{name}: 'download' only fetches files. Add 'path', which names the corpus to read."
            )
        download_list(dataset["download"], name)
