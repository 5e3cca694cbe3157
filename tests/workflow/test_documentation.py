"""Links, commands, keys, defaults and examples of the documentation agree with the code."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from shipped import shipped_config

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.demo import DEFAULTS, DemoSettings
from nmer.corpora.registry import layouts
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.corpora.validation import check
from nmer.errors import ConfigError, DataError
from nmer.extraction.step_settings import JoinSettings, SourceSettings
from nmer.figures import figures
from nmer.names import MODALITIES, PAPER_SYSTEMS, UNIMODAL_SYSTEMS
from nmer.noise.calibration import CalibrationSettings, calibrate
from nmer.noise.corruption import NoiseSource
from nmer.noise.registry import noise_kinds, noise_power
from nmer.noise.schedule import Schedule
from nmer.plan.config import SCHEMA, check_config
from nmer.plan.plan import Plan
from nmer.plan.settings import PRETRAINING, RunSettings, TrainingSettings
from nmer.references.registry import REFERENCES
from nmer.results import embedding
from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences
from nmer.systems.registry import regimes, systems

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
NOT_OF_THE_SITE = [README, REPOSITORY / "CHANGELOG.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES = [*NOT_OF_THE_SITE, *sorted((REPOSITORY / "docs").rglob("*.md"))]
CONFIGURATION = REPOSITORY / "docs" / "configuration.md"
EXTENDING = REPOSITORY / "docs" / "extending.md"

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language (empty for a plain block) and the text of every fenced block of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE)}


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every row of every table of a page, without heading rows."""
    tables = re.findall(r"^\|.*\n\|[-| ]+\|\n((?:\|.*\n?)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for table in tables for row in table.splitlines()]


def base_config() -> dict:
    return shipped_config()


# Links, paths and commands


@page
def test_every_relative_link_resolves(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            linked = (path.parent / name).resolve() if name else path
            assert linked.exists(), f"{path.name} links to {target}"
            assert not anchor or anchor in anchors(linked), f"{path.name} links to {target}"


@page
def test_every_repository_path_in_the_text_exists(path):
    named = re.findall(r"`((?:scripts|workflow|envs|profiles|tests|docs|examples)/[\w./*-]*)`", path.read_text())
    # The pages say that these do not exist in a checkout.
    missing = {name for name in named if not list(REPOSITORY.glob(name.rstrip("/")))}
    assert missing <= {"workflow/profiles/", "scripts/__pycache__/fingerprints.json"}  # the second is written by runs


PROGRAMS = ("make", "snakemake", "python")


@cache
def commands(path: Path) -> list[list[str]]:
    """Return the words of every command of a page that calls one of ``PROGRAMS``, without its working folder."""
    text = path.read_text().replace("\\\n", " ")
    blocks = [line for language, block in code_blocks(text) if language in ("", "sh") for line in block.splitlines()]
    indented = re.findall(r"^ {4}(\S.*)$", without_code(text), re.MULTILINE)
    lines = blocks + indented + re.findall(r"`([^`\n]+)`", without_code(text))
    called = [line.removeprefix(".venv/bin/") for line in lines]
    return [shlex.split(line, comments=True) for line in called if re.match(rf"({'|'.join(PROGRAMS)})( |$)", line)]


def commands_of(program: str, path: Path) -> list[list[str]]:
    return [command for command in commands(path) if command[0] == program]


OPTIONS_WITH_A_VALUE = ("--quiet", "-s", "--cores", "--configfile", "--profile", "--report")


def bare_words(command: list[str]) -> list[str]:
    """Return the targets of a command: its words other than options, their values and assignments."""
    return [
        word
        for before, word in itertools.pairwise(command)
        if not word.startswith("-") and "=" not in word and before not in OPTIONS_WITH_A_VALUE
    ]


@page
def test_every_make_target_in_the_text_exists(path):
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {word for command in commands_of("make", path) for word in bare_words(command)} <= targets


@page
def test_every_experiment_and_target_of_a_snakemake_command_exists(path):
    experiments = set(base_config()["experiments"])
    if path == EXTENDING:
        experiments |= {name for example in EXAMPLES for name in example_lines(example)["experiments"]}
    rules = set(re.findall(r"^rule (\w+):", (REPOSITORY / "workflow" / "Snakefile").read_text(), re.MULTILINE))
    rules |= {f"fetch_{dataset}" for dataset in base_config()["datasets"]}
    for command in commands_of("snakemake", path):
        assert {word for word in bare_words(command) if not word.startswith("results/")} <= rules, command
        asked = {word.partition("=")[2] for word in command if word.startswith("experiment=")}
        assert asked <= experiments, command
    assert set(re.findall(r"experiment=(\w+)", path.read_text())) <= experiments


PYTHON_PROGRAMS = sorted(
    {command[1] for path in PAGES for command in commands_of("python", path) if re.fullmatch(r"[\w/]+\.py", command[1])}
)


@cache
def help_of(program: str) -> str:
    """Return the ``--help`` output of a program."""
    finished = subprocess.run(
        [sys.executable, program, "--help"], cwd=REPOSITORY, text=True, capture_output=True, check=True
    )
    return finished.stdout


@pytest.mark.parametrize("program", PYTHON_PROGRAMS)
def test_a_python_program_of_a_command_exists_and_has_the_options_used(program):
    calls = [command for path in PAGES for command in commands_of("python", path) if command[1] == program]
    options = {word for command in calls for word in command[2:] if word.startswith("--")}
    assert (REPOSITORY / program).is_file()
    assert all(re.search(rf"{option}\b", help_of(program)) for option in options)


@page
def test_every_test_file_of_a_command_exists(path):
    named = [word for command in commands_of("python", path) for word in command if word.startswith("tests/")]
    assert all((REPOSITORY / name).is_file() for name in named)


def test_the_readme_gives_the_two_commands_and_every_experiment():
    assert commands_of("make", README)[:2] == [["make"], ["make", "test"]]
    assert len(commands_of("snakemake", README)) > 2
    listed = {row[0].strip("`") for row in table_rows(README.read_text())}
    assert set(base_config()["experiments"]) <= listed


FRONT_PAGES = [README, REPOSITORY / "docs" / "index.md"]
RECIPES = REPOSITORY / "docs" / "recipes.md"


def linked(path: Path) -> set[tuple[Path, str]]:
    """Return the pages that a page links to, each with its anchor (empty if there is none)."""
    found = re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", without_code(path.read_text()))
    return {((path.parent / name).resolve() if name else path, anchor) for name, anchor in found}


@pytest.mark.parametrize("front", FRONT_PAGES, ids=lambda path: path.name)
def test_every_page_and_recipe_is_at_most_two_links_from_a_front_page(front):
    first = linked(front)
    reached = first.union(*(linked(path) for path, _anchor in first if path.suffix == ".md"))
    # The site has no page outside docs/, so its front page links to none.
    expected = set(PAGES) if front == README else set(PAGES) - set(NOT_OF_THE_SITE)
    assert expected - {front} <= {path for path, _anchor in reached}
    recipes = re.findall(r"^## (.*)$", RECIPES.read_text(), re.MULTILINE)
    assert len(recipes) > 5
    assert {(RECIPES, anchor_of(recipe)) for recipe in recipes} <= reached


@page
def test_a_page_opens_with_its_purpose(path):
    heading, blank, opening = path.read_text().split("\n", 3)[:3]
    assert heading.startswith("# ")
    assert not blank
    assert re.match(r"[A-Z*`]", opening)


def test_the_status_table_of_the_readme_is_correct():
    status = {row[0]: [set(re.findall(r"`(\w+)`", cell)) for cell in row[1:]] for row in table_rows(README.read_text())}
    reported = {name for name in systems.shipped() if regimes(systems.declaration(name))} | set(REFERENCES)
    assert status["systems"][0] == reported
    assert status["systems"][1] == {*PAPER_SYSTEMS, *UNIMODAL_SYSTEMS} - reported
    assert status["noise kinds"][0] == set(noise_kinds.shipped())
    assert status["corpus layouts"][0] == set(layouts.shipped())
    assert status["figures"][0] == set(figures.shipped())
    made = yaml.safe_load(SCHEMA.read_text())["$defs"]["experiment"]["properties"]
    tables = next(row[1] for row in table_rows(README.read_text()) if row[0] == "tables")
    assert [int(number) for number in tables.split(", ")] == made["tables"]["items"]["enum"]


# Configuration: every key and its default

WHOLE = {
    "experiments.<name>.sweep.over",
    "systems.<name>.training",
    "experiments.<name>.training",
    "experiments.<name>.system_options",
    "datasets.<name>.dims",
}
"""Keys documented in one row although the schema describes their contents."""


def documented() -> list[tuple[str, str, str, str]]:
    """Return the rows (key, type, default, meaning) of the page."""
    rows = (row for row in table_rows(CONFIGURATION.read_text()) if len(row) == 4)
    return [(key.strip("`"), kind, default, meaning) for key, kind, default, meaning in rows]


@cache
def rows_of_keys() -> dict[str, tuple[str, str, str]]:
    """Key -> (type, default, meaning), without options of plug-ins and settings of synthetic corpora."""
    parts = (".generate.", ".options.")
    return {key: rest for key, *rest in documented() if not any(part in key for part in parts) and not option_of(key)}


def option_of(key: str) -> tuple[str, str] | None:
    """Return the plug-in and option of a key such as ``systems.nmer.layers``; None for a key of the schema."""
    match = re.fullmatch(r"(systems|noise\.kinds)\.(\w+)\.(\w+)", key)
    return (match[2], match[3]) if match else None


@cache
def schema_keys() -> dict[str, tuple[dict, bool]]:
    """Dotted key -> (its schema, whether it is required)."""
    schema = yaml.safe_load(SCHEMA.read_text())

    def resolved(node: dict) -> dict:
        name = node.get("$ref", "").rpartition("/")[2]
        return schema["$defs"][name] | {key: node[key] for key in node if key != "$ref"} if name else node

    def walk(node: dict, prefix: str) -> Iterator[tuple[str, tuple[dict, bool]]]:
        required_here = node.get("required", ())
        members = [(name, child, name in required_here) for name, child in node.get("properties", {}).items()]
        if isinstance(node.get("additionalProperties"), dict):
            members.append(("<name>", node["additionalProperties"], False))
        for name, child, required in members:
            key, child = f"{prefix}{name}", resolved(child)
            inner = [] if key in WHOLE else list(walk(child, f"{key}."))
            yield from inner or [(key, (child, required))]

    return dict(walk(schema, ""))


def stated(default: str) -> object:
    """Return the value in a default cell, e.g. `` `[1, 2]` ``; None for words."""
    match = re.fullmatch(r"`(.*)`", default)
    return yaml.safe_load(match[1]) if match else None


def least_config() -> dict:
    """Return a configuration that sets no key with a default."""
    return {
        "experiment": "e",
        "experiments": {"e": {"datasets": ["d"], "systems": ["nmer"], "noise": ["impulse"], "snr_db": [-10]}},
        "datasets": {"d": {"layout": "iemocap_mmin", "generate": {}}},
    }


@cache
def true_defaults() -> dict[str, object]:
    """Return the defaults of keys as the code applies them, from the plan of a minimal configuration."""
    plan = Plan(least_config())
    every_fold = plan.folds("d") == list(range(1, layouts.declaration("iemocap_mmin").attributes["folds"] + 1))
    run = RunSettings("d", "nmer", "incomplete", 1, 1)
    return {
        "experiments.<name>.repeats": plan.repeats,
        "experiments.<name>.folds": "all" if every_fold else None,
        "experiments.<name>.training": {},
        "experiments.<name>.system_options": {},
        "experiments.<name>.train_at": None if plan.trained_at else "own",
        "systems.<name>.training": {},
        "experiments.<name>.unimodal.train_clean": plan.unimodal["train_clean"],
        "experiments.<name>.unimodal.clean_reference": plan.unimodal["clean_reference"],
        "experiments.<name>.metrics": list(plan.metrics),
        "experiments.<name>.tables": plan.tables,
        "experiments.<name>.figures": plan.figures,
        "experiments.<name>.embedding.samples": embedding.SAMPLES,
        "experiments.<name>.embedding.perplexity": embedding.PERPLEXITY,
        "experiments.<name>.embedding.seed": inspect.signature(embedding.embed).parameters["seed"].default,
        "datasets.<name>.evaluation": run.evaluation,
        "datasets.<name>.target": CorpusSettings("d", "iemocap_mmin").target,
        "datasets.<name>.options": dict(CorpusSettings("d", "iemocap_mmin").options),
        "datasets.<name>.raw.source": SourceSettings("d").source,
        "datasets.<name>.raw.chunks": SourceSettings("d").chunks,
        "datasets.<name>.raw.on_failure": JoinSettings("d", ()).on_failure,
        "datasets.<name>.raw.max_failed": JoinSettings("d", ()).max_failed,
        "noise.seed": NoiseSource(None, "gaussian", "d").seed,
        "noise.schedule": Schedule().shape,
        "noise.train_draws": run.train_draws,
        "noise.calibration.match": CalibrationSettings("d", "gaussian").match,
        "noise.beta_start": Schedule().beta_start,
        "noise.beta_end": Schedule().beta_end,
        "noise.calibration.mode": inspect.signature(calibrate).parameters["mode"].default,
        "noise.calibration.scope": inspect.signature(FeatureStore.variance).parameters["scope"].default,
        "training.keep_models": plan.keeps_models,
        "noise.keep": plan.keeps_noise,
        "compute.threads": plan.threads,
        "compute.device": plan.device,
        "compute.gpu_from_mb": plan.gpu_from_mb,
        **{f"training.{key}": value for key, value in vars(TrainingSettings()).items()},
        **{f"training.pretraining.{key}": value for key, value in vars(PRETRAINING).items()},
    }


def test_every_key_of_the_schema_has_one_row_and_every_row_is_a_key():
    keys = [key for key, *_rest in documented() if ".generate." not in key]
    assert len(keys) == len(set(keys))
    assert set(rows_of_keys()) == set(schema_keys())


def test_every_key_that_a_decision_names_exists():
    rows = [row for row in table_rows((REPOSITORY / "docs" / "decisions.md").read_text()) if len(row) == 3]
    named = {key for *_, cell in rows for key in re.findall(r"`([^`]+)`", cell)}
    assert len(named) > 10
    assert named <= set(schema_keys())


@pytest.mark.parametrize("key", sorted(schema_keys()))
def test_the_default_of_a_key_matches_the_code(key):
    _kind, default, _meaning = rows_of_keys()[key]
    schema, required = schema_keys()[key]
    assert (default == "required") == required
    if key in true_defaults():
        assert stated(default) == true_defaults()[key]
        assert type(stated(default)) is type(true_defaults()[key])
    else:
        assert stated(default) is None or key == "data", "the test does not know this default"
    described = re.search(r"Default (.+?)\.(?:\s|$)", schema.get("description", ""))
    if described and stated(default) is not None and not isinstance(stated(default), list):
        assert yaml.safe_load(described[1].strip("`")) == stated(default)


def test_writing_out_the_documented_defaults_changes_no_jobs_settings():
    config = least_config()
    for key, _kind, default, _meaning in documented():
        section, *parts = key.split(".")
        if section in ("noise", "systems", "training", "compute") and stated(default) is not None and "<" not in key:
            place = config.setdefault(section, {})
            for part in parts[:-1]:
                place = place.setdefault(part, {})
            place[parts[-1]] = stated(default)
    known = {"seed", "schedule", "keep", "train_draws", "beta_start", "beta_end", "calibration", "kinds"}
    assert set(config["noise"]) == known
    job = {"dataset": "d", "corruption": "impulse_-10dB", "fold": 1}
    run = SimpleNamespace(**job, system="nmer", regime="incomplete")
    stage = SimpleNamespace(dataset="d", stage="two_tower", fold=1)
    written_out, least = Plan(config), Plan(least_config())
    embedding = {
        key.rpartition(".")[2]: stated(default) for key, _k, default, _m in documented() if ".embedding." in key
    }
    config["experiments"]["e"]["embedding"] = embedding
    for plan_settings, w in (
        (Plan.embedding_settings, run),
        (Plan.calibration_settings, run),
        (Plan.corruption_settings, run),
        (Plan.training_settings, run),
        (Plan.training_settings, stage),
        (Plan.evaluation_settings, run),
    ):
        assert plan_settings(written_out, w) == plan_settings(least, w)


def test_a_corpus_is_looked_for_in_the_documented_folder():
    config = least_config()
    config["datasets"]["d"] = {"layout": "iemocap_mmin", "path": "nowhere"}
    with pytest.raises(DataError, match=f"{stated(rows_of_keys()['data'][1])}/nowhere"):
        check_config(config)


@pytest.mark.parametrize("key", sorted(schema_keys()))
def test_the_type_of_a_key_matches_the_schema(key):
    kind, _default, _meaning = rows_of_keys()[key]
    schema, _required = schema_keys()[key]
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    words |= {"array": "list of", "object": "mapping"}
    if "type" in schema:
        assert kind.startswith(words[schema["type"]])
    choices = schema.get("enum") or schema.get("items", {}).get("enum") or []
    assert re.findall(r"`([^`]+)`", kind) == [str(choice) for choice in choices] or not choices


def test_every_option_of_a_shipped_system_or_noise_kind_has_a_row_with_its_default():
    expected = {
        f"{section}.{name}.{option}": default
        for section, registry in (("systems", systems), ("noise.kinds", noise_kinds))
        for name in registry.shipped()
        for option, default in registry.declaration(name).options.items()
    }
    found = {key: stated(default) for key, _kind, default, _meaning in documented() if option_of(key)}
    assert found == expected
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in expected.items()}


def test_every_option_of_a_shipped_layout_has_a_row_with_its_default():
    found = {key.rpartition(".")[2]: stated(default) for key, _k, default, _m in documented() if ".options." in key}
    expected: dict[str, object] = {}
    for name in layouts.shipped():
        expected |= layouts.declaration(name).options
    assert found == expected


@pytest.mark.parametrize("layout", sorted(DEFAULTS))
def test_every_setting_of_a_synthetic_corpus_has_a_row_with_its_default(layout):
    section = CONFIGURATION.read_text().split(f"synthetic corpus in layout `{layout}`")[1].split("\n#")[0]
    found = {row[0].strip("`").rpartition(".")[2]: stated(row[2]) for row in table_rows(section)}
    settings, of_dataset = DemoSettings.from_mapping({"layout": layout}), ("dataset", "layout", "modalities")
    assert found == {key: value for key, value in vars(settings).items() if key not in of_dataset}


def test_the_documented_defaults_of_layouts_match_their_declarations():
    rows = {row[0].strip("`"): row[1:] for row in table_rows(CONFIGURATION.read_text()) if len(row) == 3}
    declared = {name: layouts.declaration(name).attributes for name in layouts.shipped()}
    assert {name: [stated(cell) for cell in cells] for name, cells in rows.items()} == {
        name: [list(attributes["standardize"]), attributes["folds"]] for name, attributes in declared.items()
    }


# Extending: the examples of the page are loaded and used

EXAMPLES = ("A noise kind", "A system", "A layout", "A figure")


def example_blocks(heading: str) -> dict[str, str]:
    """Return the text of the blocks under a heading, by file name."""
    section = EXTENDING.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)```", section, re.MULTILINE | re.DOTALL))


def example_lines(heading: str) -> dict:
    """Return the configuration lines under a heading."""
    return yaml.safe_load(example_blocks(heading)["config.yaml"])


def merged(first: dict, second: dict) -> dict:
    """Return the first configuration updated with the second."""
    both = copy.deepcopy(first)
    for key, value in second.items():
        both[key] = merged(both[key], value) if isinstance(both.get(key), dict) and isinstance(value, dict) else value
    return both


@pytest.fixture
def example(request, tmp_path, monkeypatch) -> tuple[str, dict]:
    """The example's file, written below the working folder, and the configuration with the example's lines."""
    blocks = example_blocks(request.param)
    (name,) = (name for name in blocks if name.endswith(".py"))
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(blocks[name])
    monkeypatch.chdir(tmp_path)
    lines = example_lines(request.param)
    (experiment,) = lines["experiments"]
    return name, merged(base_config(), lines) | {"experiment": experiment, "data": str(tmp_path)}


noise_example = pytest.mark.parametrize("example", ["A noise kind"], indirect=True)
system_example = pytest.mark.parametrize("example", ["A system"], indirect=True)
figure_example = pytest.mark.parametrize("example", ["A figure"], indirect=True)
layout_example = pytest.mark.parametrize("example", ["A layout"], indirect=True)


@noise_example
def test_the_example_of_a_noise_kind_draws_noise_with_the_options_of_its_lines(example):
    file, config = example
    check_config(config)
    kind = noise_kinds.load("box", file)
    options = {key: value for key, value in config["noise"]["kinds"]["box"].items() if key != "file"}
    eps = NoiseSource(kind, "box", "demo", options=options).eps("utterance", "a", (400, 50))
    assert eps.dtype == np.float32
    assert eps.shape == (400, 50)
    assert np.abs(eps).max() <= options["width"]
    assert abs(eps.mean()) < 0.05
    assert noise_power(kind, options) == pytest.approx(options["width"] ** 2 / 3, rel=0.01)


@noise_example
def test_the_example_of_a_noise_kind_adds_its_levels_to_the_plan_and_its_file_only_to_its_jobs(example):
    file, config = example
    plan = Plan(config)
    assert list(plan.corruptions) == ["gaussian_-10dB", "gaussian_-20dB", "box_-10dB", "box_-20dB"]
    box, other = (SimpleNamespace(dataset="demo_mosei", corruption=f"{kind}_-10dB") for kind in ("box", "gaussian"))
    assert file in plan.corruption_settings(box)
    assert plan.code("corrupt.py", box) != plan.code("corrupt.py", other)
    demo = Plan(base_config())
    assert plan.code("corrupt.py", other) == demo.code("corrupt.py", other)


@system_example
def test_the_example_of_a_system_is_built_runs_and_learns(example):
    file, config = example
    check_config(config)
    options = {key: value for key, value in config["systems"]["late_fusion"].items() if key != "file"}
    dims, lengths = {"a": 4, "v": 3, "l": 5}, torch.tensor([6, 2, 4, 1])
    torch.manual_seed(0)
    built = build_system("late_fusion", dims, 3, 0.5, options, file)
    assert built.single_weight == 0.5
    values = {m: torch.randn(4, 6, dims[m]) * (torch.arange(6) < lengths[:, None])[:, :, None] for m in MODALITIES}
    batch = Batch(
        observed={m: Sequences(values[m], lengths) for m in MODALITIES},
        labels=torch.tensor([0, 1, 2, 1]),
        noisy={m: torch.ones(4, dtype=torch.bool) for m in MODALITIES},
    )
    outputs = built(batch)
    assert outputs["logits"].shape == (4, 3)
    terms = built.loss(outputs, batch)
    assert set(terms) == {"classification", "single"}
    sum(terms.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in built.parameters())


@system_example
def test_the_example_of_a_system_adds_its_trainings_and_changes_no_other_system(example):
    _file, config = example
    plan = Plan(config)
    added = [training for training in plan.trainings() if training.system == "late_fusion"]
    assert [training.regime for training in added] == ["incomplete", "all_noisy"]
    others = [SimpleNamespace(dataset="demo_iemocap", system=name, fold=1) for name in ("men", "nmer")]
    demo = Plan(base_config())
    assert [plan.code("train.py", job) for job in others] == [demo.code("train.py", job) for job in others]


@system_example
def test_a_misspelt_option_of_the_example_is_refused_with_a_suggestion(example):
    _file, config = example
    config["systems"]["late_fusion"]["single_wieght"] = 1.0
    with pytest.raises(ConfigError, match="single_weight"):
        check_config(config)


@layout_example
def test_the_example_of_a_layout_reads_a_corpus_that_is_accepted_and_stored(example, tmp_path):
    file, config = example
    section = config["datasets"]["interviews"]
    count, random = 30, np.random.default_rng(0)
    np.savez(
        tmp_path / section["path"],
        id=[f"utterance{number}" for number in range(count)],
        label=np.arange(count) % 2,
        speaker=[f"speaker{number // 10}" for number in range(count)],
        split=np.repeat(["train", "val", "test"], 10),
        **{m: random.standard_normal((count, 4, section["dims"][m])) for m in MODALITIES},
    )
    check_config(config)
    plan = Plan(config)
    assert plan.folds("interviews") == [1]
    job = SimpleNamespace(dataset="interviews")
    settings = CorpusSettings.from_mapping(json.loads(plan.features_settings(job)))
    assert settings.file == file
    with read_corpus(plan.source(job), settings) as corpus:
        check(corpus, settings)
        write_store(corpus, settings, tmp_path / "x.h5")
    with FeatureStore(tmp_path / "x.h5") as store:
        assert store.classes == ["calm", "upset"]
        assert store.dims == section["dims"]
        assert {split: len(index) for split, index in store.fold(1).items()} == {"train": 10, "val": 10, "test": 10}
        assert store.normalisation(1, "a") is not None
        assert store.normalisation(1, "v") is None


@figure_example
def test_the_example_of_a_figure_is_drawn_by_the_step_for_every_dataset(example, tmp_path):
    _file, config = example
    plan = Plan(config)
    assert list(plan.drawings) == ["robustness", "spread_demo_mosei"]
    place = ("demo_mosei", "nmer", "incomplete", "gaussian", -10, "a", 1)
    rows = [(*place, repeat, metric, value, 9) for repeat, value in ((1, 0.4), (2, 0.6)) for metric in ("WA", "UA")]
    names = ["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "scores.csv", index=False)
    job = SimpleNamespace(figure="spread_demo_mosei")
    step = [sys.executable, REPOSITORY / "scripts" / "draw_figure.py", "--code", plan.code("draw_figure.py", job)]
    step += ["--settings", plan.figure_settings(job), "--source", "scores", "scores.csv", "--output-stem", "spread"]
    finished = subprocess.run(step, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert pd.read_csv(tmp_path / "spread.csv")["spread"].tolist() == pytest.approx([0.2 / 2**0.5], abs=1e-6)
    texts = json.loads((tmp_path / "spread.json").read_text())
    assert texts["title"] == "Spread, demo_mosei (synthetic)"
    assert texts["alternative"] == "Bar chart of standard deviations. Systems: NMER."
