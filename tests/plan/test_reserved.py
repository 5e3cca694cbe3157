"""Options of a plug-in named like a key of the configuration are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.extraction.registry import extractors
from nmer.extraction.registry import sources as utterance_sources
from nmer.extraction.step_settings import SECTION_KEYS
from nmer.figures import figures
from nmer.noise.registry import noise_kinds
from nmer.plan import corruptions, extraction, variants
from nmer.plan.plan import Plan
from nmer.plan.reserved import refuse_reserved
from nmer.systems.registry import systems

SYSTEM = """
@system("mine", pretraining="none", regimes=("incomplete",))
class Mine(System):
    width: int = 8
    {option}: str = "fast"
"""
NOISE = """
@noise_kind("mine", additive=False)
def mine(values, generator, *, {option}="fast"): ...
"""
FIGURE = """
@figure("mine", sources=("scores",))
def draw(scores, *, {option}="fast"): ...
"""


def make_plan(sections: dict, **experiment: object) -> Plan:
    config = shipped_config() | {"experiment": "tiny"} | sections
    config["experiments"]["tiny"] |= experiment
    return Plan(config)


def written(folder: Path, source: str, option: str) -> Path:
    path = folder / "mine.py"
    path.write_text(source.format(option=option))
    return path


def refusal(file: Path, option: str, sections: dict, **experiment: object) -> None:
    with pytest.raises(ConfigError) as raised:
        make_plan(sections, **experiment)
    message = str(raised.value)
    assert f"{file}: 'mine' has an option '{option}', a name that the configuration reserves" in message
    assert message.endswith("Rename the option.")


@pytest.mark.parametrize("option", variants.OWN_KEYS)
def test_an_option_of_a_system_named_like_a_key_of_variants_is_refused(tmp_path, option):
    file = written(tmp_path, SYSTEM, option)
    refusal(file, option, {"systems": {"mine": {"file": str(file)}}}, systems=["men", "mine"])


def test_an_option_named_kind_is_not_reported_as_an_unknown_kind(tmp_path):
    file = written(tmp_path, SYSTEM, "kind")
    refusal(file, "kind", {"systems": {"mine": {"file": str(file), "kind": "slow"}}}, systems=["men", "mine"])


def test_a_sweep_over_a_reserved_option_is_refused(tmp_path):
    file = written(tmp_path, SYSTEM, "title")
    sweep = {"system": "mine", "over": {"title": ["slow", "fast"]}}
    refusal(file, "title", {"systems": {"mine": {"file": str(file)}}}, systems=["men", "mine"], sweep=sweep)


@pytest.mark.parametrize("option", corruptions.OWN_KEYS)
def test_an_option_of_a_noise_kind_named_like_a_key_is_refused(tmp_path, option):
    file = written(tmp_path, NOISE, option)
    refusal(file, option, {"noise": {"kinds": {"mine": {"file": str(file)}}}}, noise=["gaussian", "mine"])


def test_an_option_of_a_figure_named_like_a_key_is_refused(tmp_path):
    file = written(tmp_path, FIGURE, "file")
    refusal(file, "file", {"figures": {"mine": {"file": str(file)}}}, figures=["mine"])


def test_figures_and_noise_kinds_can_use_names_that_only_systems_reserve(tmp_path):
    (tmp_path / "noise").mkdir()
    noise, drawn = written(tmp_path / "noise", NOISE, "title"), written(tmp_path, FIGURE, "title")
    sections = {
        "noise": {"kinds": {"mine": {"file": str(noise), "title": "slow"}}},
        "figures": {"mine": {"file": str(drawn), "title": "Mine"}},
    }
    plan = make_plan(sections, noise=["gaussian", "mine"], figures=["mine"])

    class Of:
        dataset, corruption, figure = "tiny_mosei", "mine", "mine"

    assert '"options": {"title": "slow"}' in plan.corruption_settings(Of)
    assert '"options": {"title": "Mine"}' in plan.figure_settings(Of)


def test_no_built_in_plug_in_has_a_reserved_option():
    reserved = {
        systems: variants.OWN_KEYS,
        noise_kinds: corruptions.OWN_KEYS,
        figures: ("file",),
        extractors: SECTION_KEYS,
        utterance_sources: extraction.OWN_KEYS,
    }
    for registry, keys in reserved.items():
        assert registry.shipped()
        for name in registry.shipped():
            refuse_reserved(registry.declaration(name), keys)
