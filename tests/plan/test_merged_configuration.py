"""An error in a merged configuration names its files and those that contain the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmer.errors import ConfigError
from nmer.plan.config import name_sources
from nmer.plan.loading import merged_message

OURS = {
    "experiments": {"demo": {"repeats": 2, "snr_db": [-10]}},
    "datasets": {"d": {"layout": "x", "options": {"y": 1}}},
}


@pytest.mark.parametrize(
    ("message", "holders"),
    [
        ("datasets.d.options.y: is wrong.", "config.yaml"),
        ("datasets.d.options: unknown key 'y'. Known names: z.", "config.yaml"),
        ("datasets.d: options: unknown key 'q'.", None),
        ("experiments.demo.repeats: is wrong.", "config.yaml and mine.yaml"),
        ("config: unknown key 'colour'.", "mine.yaml"),
        ("training.learning_rate: is wrong.", "--config"),
        ("A sentence without a key.", None),
    ],
)
def test_the_files_that_contain_the_key_are_named(message, holders):
    sources = [
        ("config.yaml", OURS),
        ("mine.yaml", {"experiments": {"demo": {"repeats": 0}}, "colour": "red"}),
        ("--config", {"training": {"learning_rate": "x"}}),
    ]
    merged = name_sources(message, sources)
    assert merged.startswith(f"{message} The configuration is merged from config.yaml, mine.yaml, --config.")
    assert merged.endswith(f" The key is in {holders}." if holders else "--config.")


def test_a_single_file_is_not_named():
    assert name_sources("x: is wrong.", [("config.yaml", OURS)]) == "x: is wrong."


def test_selecting_an_experiment_is_not_reported_as_merging(tmp_path):
    (tmp_path / "config.yaml").write_text("experiments: {}")
    files = [tmp_path / "config.yaml"]
    assert merged_message(ConfigError("x: is wrong."), files, {"experiment": "demo", "data": "/x"}) == "x: is wrong."
    merged = merged_message(ConfigError("training: is wrong."), files, {"experiment": "demo", "training": {}})
    assert merged.endswith(f"merged from {files[0]}, --config. The key is in --config.")
    assert Path(merged.split("merged from ")[1].split(",")[0]) == files[0]
