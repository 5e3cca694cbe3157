"""The study of the invariant features runs without Snakemake, repeats no work and hides test scores."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_documentation import table_rows

from nmer.corpora.store import FeatureStore
from nmer.systems.blocks.towers import TwoTowers
from nmer.systems.interface import Sequences

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = REPOSITORY.parent / "shared" / "data"

pytestmark = pytest.mark.slow


def study(out: Path, only: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/invariant_features.py", "--out", str(out), "--quick", "--jobs", "2"]
    return subprocess.run(
        [*command, "--only", only, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def results(finished: subprocess.CompletedProcess[str], out: Path) -> tuple[list[list[str]], list[dict[str, str]]]:
    """Return the rows of the printed table and of the CSV."""
    assert finished.returncode == 0, finished.stderr
    with (out / "invariant_features.csv").open(newline="") as stream:
        return [row for row in table_rows(finished.stdout) if row[0] != "corpus"], list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def finished(out) -> subprocess.CompletedProcess[str]:
    return study(out, "synthetic/nmer/raw*")


def test_a_cell_has_a_row_per_repeat_and_test_scores_are_printed_only_for_the_default(out, finished):
    printed, rows = results(finished, out)
    assert [row[:4] for row in printed] == [
        ["synthetic", "-10 dB", "nmer", name] for name in ("raw", "raw_scaled", "raw_light_cmd", "raw_light_inv")
    ]
    assert [bool(row[-1]) for row in printed] == [True, False, False, False]
    assert [(row["variant"], row["repeat"]) for row in rows][:3] == [("raw", "1"), ("raw", "2"), ("raw_scaled", "1")]
    assert all(0 <= float(row[f"test_{metric}"]) <= 1 for row in rows for metric in ("WA", "UA"))
    # Variants that differ only in a weight of the system share a teacher.
    teachers = {row["variant"]: row["teacher_val_UA"] for row in rows if row["repeat"] == "1"}
    assert teachers["raw"] == teachers["raw_light_inv"] != teachers["raw_scaled"]


def test_finished_work_is_not_repeated(out, finished):
    printed, rows = results(finished, out)
    models = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    again = study(out, "synthetic/nmer/raw*")
    assert results(again, out) == (printed, rows)
    assert " done: " not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in models} == models


def test_the_spread_is_the_deviation_of_the_teachers_invariant_features_over_validation_utterances(out, finished):
    _printed, rows = results(finished, out)
    weights = load_file(out / "teachers/synthetic/two_tower/raw/model.safetensors")
    prefix = "repeat1.towers."
    with FeatureStore(out / "features/synthetic.h5") as store:
        towers = TwoTowers(store.dims).eval()
        towers.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        validation, offset, values = store.fold(1)["val"], store.offset("l"), store.values("l")[()]
        utterances = [torch.from_numpy(values[offset[row] : offset[row + 1]]) for row in validation]
    with torch.no_grad():
        encodings = [towers("l", Sequences(u[None], torch.tensor([len(u)])))[0, 128:] for u in utterances]
    expected = torch.stack(encodings).std(dim=0).mean().item()
    assert float(rows[0]["teacher_spread_l"]) == pytest.approx(expected, rel=1e-4)


def test_an_unknown_cell_is_refused_in_one_line(out):
    refused = study(out, "mosi/nmer/softmax")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: --only: no cell is called 'mosi/nmer/softmax'.")
    assert refused.stderr.count("\n") == 1


def test_the_study_reads_the_real_cmu_mosi(tmp_path):
    if not REAL_DATA.is_dir():
        pytest.skip(f"{REAL_DATA} is absent: the real CMU-MOSI is not part of the repository")
    printed, rows = results(study(tmp_path, "mosi/if_mmin/tanh", "--data", str(REAL_DATA)), tmp_path)
    assert [row[:4] for row in printed] == [["mosi", level, "if_mmin", "tanh"] for level in ("-10 dB", "-30 dB")]
    # Features of H = tanh(...) lie in (-1, 1), so no deviation reaches 1.
    assert all(0 < float(row[f"system_spread_{m}"]) < 1 for row in rows for m in "avl")
