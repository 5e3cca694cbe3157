"""A configuration is merged as Snakemake merges it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.settings.types import ConfigSettings
from snakemake.utils import update_config

from nmer.errors import ConfigError
from nmer.plan.loading import read_config

REPOSITORY = Path(__file__).resolve().parents[2]
ENTRIES = [
    ["experiment=tiny"],
    ["experiment=tiny", "data=/my corpora/x=y"],
    ["compute={threads: 3}", "noise={kinds: {impulse: {frequency: 0.5}}}"],
    ["training={keep_models: False, learning_rate: 0.01}", "systems="],
    ["data=1", "experiment=1.5", "systems=True", "noise=true"],
    ["datasets={mosi: {layout: [a, b]}}", "experiment=a: b: c", "data=1e3"],
]


def merged_by_snakemake(first: Path, files: list[Path], entries: list[str]) -> dict:
    """Merge like a workflow with ``configfile: first`` and ``--configfile files --config entries``."""
    config = load_configfile(first)
    update_config(config, ConfigSettings(config=parse_config(entries), configfiles=files).overwrite_config)
    return config


@pytest.mark.parametrize("entries", ENTRIES, ids=" ".join)
def test_entries_of_the_command_line_are_read_as_snakemake_reads_them(entries):
    first = REPOSITORY / "config.yaml"
    assert read_config([first], entries) == merged_by_snakemake(first, [], entries)


def test_files_and_entries_override_one_another_as_in_snakemake(tmp_path):
    first, second = REPOSITORY / "config.yaml", tmp_path / "mine.yaml"
    second.write_text(
        yaml.safe_dump(
            {"experiment": "mine", "experiments": {"mine": {"repeats": 1}, "tiny": {"repeats": 7}}, "data": {"a": 1}}
        )
    )
    entries = ["experiments={tiny: {folds: 3}}"]
    config = read_config([first, second], entries)
    assert config == merged_by_snakemake(first, [second], entries)
    assert config["experiments"]["tiny"]["repeats"] == 7
    assert config["experiments"]["tiny"]["folds"] == "3", "Snakemake does not convert text within a mapping"
    assert config["experiments"]["tiny"]["systems"] == ["men", "nmer"]


def test_an_override_does_not_change_the_file_read_before(tmp_path):
    first = tmp_path / "config.yaml"
    first.write_text("a: {b: 1}\n")
    before = copy.deepcopy(read_config([first], []))
    read_config([first], ["a={b: 2}"])
    assert read_config([first], []) == before


@pytest.mark.parametrize(
    ("content", "entries", "message"),
    [
        (None, [], "config.yaml: no such file. Correct the path."),
        ("a: [", [], "config.yaml: not valid YAML"),
        ("- a\n", [], "config.yaml: not a mapping of keys to values"),
        ("a: 1\n", ["experiment"], "--config: 'experiment' has no value. Write it like experiment=demo."),
    ],
)
def test_a_fault_is_one_line_with_a_remedy(tmp_path, content, entries, message):
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        read_config([file], entries)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
