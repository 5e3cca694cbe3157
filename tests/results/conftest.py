"""Small seeded scores and settings for the tests of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from synthetic_results import ROOT, make_scores, make_unimodal_scores

from nmer.report_settings import DatasetSettings, ReportSettings, UnimodalSettings

PAPER_SYSTEMS = ["men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv"]


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with the paper's numbers."""
    return ROOT / "workflow" / "reference"


@pytest.fixture(scope="session")
def paper_settings() -> ReportSettings:
    """Table settings for the full protocol of the paper."""
    levels = [-10, -20, -30, -40]
    return ReportSettings(
        datasets={
            "iemocap": DatasetSettings("IEMOCAP"),
            "mosei": DatasetSettings("CMU-MOSEI", evaluation="one_condition"),
        },
        systems=list(PAPER_SYSTEMS),
        snr_db={"gaussian": levels, "impulse": levels},
        reference_noise="gaussian",
    )


@pytest.fixture(scope="session")
def small_settings() -> ReportSettings:
    """Table settings for three datasets: a real one, a synthetic one, and one not in the paper."""
    return ReportSettings(
        datasets={
            "iemocap": DatasetSettings("IEMOCAP"),
            "demo_iemocap": DatasetSettings("IEMOCAP", synthetic=True),
            "mosi": DatasetSettings(),
        },
        systems=["nmer", "my_system", "men"],
        snr_db={"gaussian": [-10, -40], "impulse": [-10]},
        reference_noise="gaussian",
    )


@pytest.fixture(scope="session")
def small_scores(small_settings) -> pd.DataFrame:
    """Random scores of every run of ``small_settings``."""
    return make_scores(small_settings)


@pytest.fixture(scope="session")
def unimodal_settings(small_settings) -> ReportSettings:
    """Table settings for uni-modal systems, in a different order, on two of the three datasets."""
    return replace(
        small_settings,
        systems=["unimodal_l", "unimodal_a", "unimodal_v"],
        unimodal=UnimodalSettings(["iemocap", "demo_iemocap"], [-40, 0, -10], clean_reference=True),
    )


@pytest.fixture(scope="session")
def unimodal_scores(unimodal_settings) -> pd.DataFrame:
    """Random scores of every run of ``unimodal_settings``."""
    return make_unimodal_scores(unimodal_settings)


@pytest.fixture(scope="session")
def mixed_settings(small_settings, unimodal_settings) -> ReportSettings:
    """Table settings for an experiment with both multimodal and uni-modal systems."""
    return replace(unimodal_settings, systems=[*unimodal_settings.systems, *small_settings.systems])


@pytest.fixture(scope="session")
def mixed_scores(small_scores, unimodal_scores) -> pd.DataFrame:
    """Random scores of every run of ``mixed_settings``."""
    return pd.concat([unimodal_scores, small_scores], ignore_index=True)
