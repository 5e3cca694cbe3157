"""A user's system that starts from a pretraining of its own, in the same file or in another one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from shipped import shipped_config

from nmer.cli import main as cli
from nmer.errors import ConfigError
from nmer.plan.plan import Plan
from nmer.training.system_checks import check_system

HEADER = """
import torch
from torch import nn

from nmer.options import Count
from nmer.systems.blocks.encoders import HIDDEN, encoder_tower, joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.interface import System
from nmer.systems.registry import system
"""
BODY = """
    width: Count = 8

    def __init__(self, dims, classes, dropout, **options):
        super().__init__(dims, classes, dropout, **options)
        self.encoders = encoder_tower(dims)
        self.classifier = classifier_head(joint_width(dims), (self.width,), classes, dropout)

    def encode(self, modality, sequences):
        return self.encoders[modality](sequences)

    def fuse(self, encodings):
        return {"logits": self.classifier(torch.cat([encodings[m] for m in self.modalities], dim=1))} | encodings
"""
WARM_UP = f"""
@system("warm_up", regimes=(), passed_on=("width",))
class WarmUp(System):
{BODY}
"""
TAUGHT = f"""
@system("taught", pretraining="warm_up", fewest_modalities=2)
class Taught(System):
    inherited = ("encoders", "classifier")
{BODY}
    def loss_terms(self, outputs, batch):
        errors = [nn.functional.mse_loss(outputs[m], batch.teacher_clean[m]) for m in self.modalities]
        return super().loss_terms(outputs, batch) | {{"restoration": sum(errors)}}
"""


def make_config(**files: Path) -> dict:
    """Return the tiny experiment with the system ``taught`` and options of both."""
    config = shipped_config() | {"experiment": "tiny"}
    config["systems"] = {name: {"file": str(file), "width": 4} for name, file in files.items()}
    config["experiments"]["tiny"]["systems"] = ["taught"]
    return config


def test_a_pretraining_is_searched_in_the_file_of_its_system(tmp_path, capsys):
    (file := tmp_path / "taught.py").write_text(HEADER + WARM_UP + TAUGHT)
    arguments = ["nmer", "check-system", "taught", "--file", str(file), "--options", '{"width": 5}']
    with mock.patch.object(sys, "argv", arguments):
        cli.main()
    assert capsys.readouterr().out == "taught: nothing is wrong.\n"


def test_the_plan_gives_the_check_of_a_system_the_file_and_options_of_its_pretraining(tmp_path):
    (first := tmp_path / "warm_up.py").write_text(HEADER + WARM_UP)
    (second := tmp_path / "taught.py").write_text(HEADER + TAUGHT)
    plan = Plan(make_config(warm_up=first, taught=second))
    settings = json.loads(plan.check_settings(SimpleNamespace(system="taught")))
    assert settings["teacher"] == {"file": str(first), "options": {"width": 4}}
    assert check_system("taught", options=settings["options"], file=str(second), teacher=settings["teacher"]) == []
    assert "teacher" not in json.loads(plan.check_settings(SimpleNamespace(system="warm_up")))


def test_the_file_of_a_pretraining_must_be_in_the_configuration(tmp_path):
    (file := tmp_path / "taught.py").write_text(HEADER + WARM_UP + TAUGHT)
    with pytest.raises(ConfigError) as refused:
        Plan(make_config(taught=file))
    assert str(refused.value) == (
        "systems.warm_up: its file is not given, and 'taught' refers to it. "
        f"Add it: systems: {{warm_up: {{file: {file}}}}}."
    )
