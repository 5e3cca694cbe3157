"""The experiments with recent systems: their trainings and noise flags."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from nmer.errors import ConfigError
from nmer.plan.plan import Plan

CONFIG = Path(__file__).resolve().parents[2] / "config.yaml"
RECENT = {"emt_dlfr": None, "momke": "experts", "lnln": None, "cif_mmin": "contrastive"}


@pytest.fixture
def make_plan(tmp_path):
    (tmp_path / "cmu_mosi").mkdir()
    for name in ("mosi_senti_data.pkl", "scores.csv"):
        (tmp_path / "cmu_mosi" / name).write_bytes(b"")

    def make(experiment: str, changed: dict | None = None, **systems) -> Plan:
        config = yaml.safe_load(CONFIG.read_text()) | {"experiment": experiment, "data": str(tmp_path)}
        config["experiments"][experiment] |= changed or {}
        config["systems"] |= systems
        return Plan(config)

    return make


@pytest.mark.parametrize("experiment", ["demo_today", "mosi_today", "mosi_today_score"])
def test_every_recent_system_is_trained_in_every_regime_together_with_those_of_the_paper(make_plan, experiment):
    plan = make_plan(experiment)
    # Left out of the others, and at -40 dB, to save time.
    all_noisy = [-10] if experiment == "demo_today" else []
    counted = Counter((job.system, job.regime) for job in plan.trainings())
    levels = len(plan.datasets) * len(plan.snr_db["gaussian"])
    for system, stage in RECENT.items():
        assert counted[system, "incomplete"] == levels
        assert counted[system, "all_noisy"] == len(plan.datasets) * len(all_noisy)
        if stage:
            assert counted[stage, "clean"] == len(plan.datasets)
    references = {"median", "ridge"} if experiment == "mosi_today_score" else {"majority", "logistic_regression"}
    assert {"mmin", "nmer", *references} <= set(plan.systems)


def test_systems_with_noise_flags_have_separate_rows_and_are_never_trained_all_noisy(make_plan):
    plan = make_plan("mosi_today_flags", {"regimes": ["incomplete", "all_noisy"], "tables": [2, 5]})
    counted = Counter((job.system, job.regime) for job in plan.trainings())
    for system in ("momke", "lnln"):
        assert counted[system, "incomplete"] == counted[system, "all_noisy"] == 1
        assert counted[f"{system}_flags", "incomplete"] == 1
        assert counted[f"{system}_flags", "all_noisy"] == 0
    assert counted["experts", "clean"] == 1, "both share it"


@pytest.mark.parametrize("system", ["emt_dlfr", "cif_mmin"])
def test_a_system_whose_method_reads_no_flags_refuses_them(make_plan, system):
    with pytest.raises(ConfigError, match=rf"systems\.{system}: unknown key 'noise_flags'"):
        make_plan("demo_today", **{system: {"noise_flags": True}})


def test_momke_and_its_experts_must_agree(make_plan):
    with pytest.raises(ConfigError, match=r"depth"):
        make_plan("mosi_today", {"system_options": {"momke": {"depth": 2}}})
