"""The benchmark of rounding changes every weight by one rounding and measures the effect on training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_documentation import table_rows

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def rounding(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import rounding

    return rounding


def test_every_nonzero_weight_moves_by_one_or_two_floats_in_either_direction(rounding):
    magnitudes = torch.logspace(-6, 2, 1000)
    weights = {
        "some": torch.cat([magnitudes, -magnitudes]),
        "powers of two": 2.0 ** torch.arange(-9, 9),
        "bias": torch.zeros(3),
    }
    changed = rounding.changed_weights(weights, seed=1)
    assert torch.equal(changed["bias"], weights["bias"])
    for name in ("some", "powers of two"):
        before, after = weights[name].numpy(), changed[name].numpy()
        assert after.dtype == np.float32
        # The distance of two floats of the same sign is that of their bits read as integers.
        moved = after.view(np.int32) - before.view(np.int32)
        assert set(abs(moved)) == {1, 2} if name == "some" else set(abs(moved)) <= {1, 2}
        assert {-1, 1} <= set(np.sign(moved))
        np.testing.assert_allclose(after, before, rtol=1.4e-7)
    assert not torch.equal(rounding.changed_weights(weights, seed=2)["some"], changed["some"])


def test_the_share_of_changed_weights_counts_all_parameters_equally(rounding):
    weights = {"wide": torch.zeros(2, 3), "narrow": torch.zeros(2)}
    changed = {"wide": torch.tensor([[0.0, 2e-5, 0.0], [0.9e-5, -2e-5, 0.0]]), "narrow": torch.tensor([1.0, 0.0])}
    assert rounding.share_apart(weights, changed) == 3 / 8


@pytest.mark.slow
@pytest.mark.ci
def test_four_steps_amplify_rounding_in_mmin_and_not_in_men(tmp_path):
    arguments = [
        "--folder",
        tmp_path,
        "--corpora",
        "mosei",
        "--systems",
        "men",
        "mmin",
        "--repeats",
        "1",
        "--steps",
        "1",
        "4",
    ]
    command = [sys.executable, REPOSITORY / "benchmarks/rounding.py", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    rows = {row[1]: row for row in table_rows(finished.stdout)}
    loss, apart_after_4 = ({name: float(row[i].split()[0]) for name, row in rows.items()} for i in (2, 4))
    assert loss["men"] < 100 < 1e6 < loss["mmin"]
    assert apart_after_4["men"] < 0.01
    assert apart_after_4["mmin"] > 10
    assert not list(tmp_path.iterdir())


def test_steps_below_one_are_refused_in_one_line(tmp_path):
    command = [sys.executable, REPOSITORY / "benchmarks/rounding.py", "--steps", "0"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.endswith("error: --steps and --repeats must be at least 1\n")
