"""The shipped configuration, for tests that change a part of it, and stand-ins for its corpora."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def shipped_config() -> dict[str, Any]:
    """Return a new copy of ``config.yaml``, which is parsed once, because parsing takes longer than planning."""
    return copy.deepcopy(_parsed())


@cache
def _parsed() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))


def write_empty_corpora(folder: Path) -> None:
    """Create empty files where corpora are expected. Planning reads only their digests."""
    iemocap = folder / "IEMOCAP_features_2021"
    for name in ("A/comparE.h5", "V/denseface.h5", "L/bert_large.h5"):
        (iemocap / name).parent.mkdir(parents=True)
        h5py.File(iemocap / name, "w").close()
    for fold in range(1, 11):
        (iemocap / "target" / str(fold)).mkdir(parents=True)
        np.save(iemocap / "target" / str(fold) / "trn_label.npy", np.zeros(1))
    (folder / "cmu_mosi").mkdir()
    for name in ("mosei_senti_data.pkl", "cmu_mosi/mosi_senti_data.pkl", "cmu_mosi/scores.csv"):
        (folder / name).write_bytes(b"")
