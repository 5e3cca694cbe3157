"""The Snakemake report of a finished experiment is complete, and is built and read without a network."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from browser import visit

pytestmark = [pytest.mark.slow, pytest.mark.tools]

DATASETS = ("tiny_iemocap", "tiny_mosei")
TABLES = {
    "tables/claims.html": ["Claims"],
    **{f"tables/table{number}.html": [f"Table {number}"] for number in range(1, 6)},
}
FIGURES = {
    "figures/robustness.png": ["Robustness", "all"],
    **{f"figures/training_{dataset}.png": ["Training", dataset] for dataset in DATASETS},
    **{f"figures/figure3_{dataset}.png": ["Figure 3", dataset] for dataset in DATASETS},
    **{f"figures/calibration_{dataset}.png": ["Calibration", dataset] for dataset in DATASETS},
}
CATEGORIES = {"Report": {"report.html": ["Whole experiment"]}, "Tables": TABLES, "Figures": FIGURES}
NOWHERE = "http://127.0.0.1:9"
"""A proxy that does not answer, so that every network request fails."""


def build(workflow, path: Path, monkeypatch) -> None:
    """Write the Snakemake report without access to the network."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
        monkeypatch.setenv(name.upper(), NOWHERE)
    finished = workflow.snakemake("--report", str(path))
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_report_is_one_page_with_a_category_label_and_caption_for_every_result(
    finished_workflow, chromium, tmp_path, monkeypatch
):
    build(finished_workflow, tmp_path / "out.html", monkeypatch)
    with visit(chromium, tmp_path / "out.html") as visited:
        page = visited.page
        for category, items in CATEGORIES.items():
            page.get_by_text(category, exact=True).last.click()
            words = page.get_by_role("table").inner_text().split()
            for labels in items.values():
                assert [word for label in labels for word in label.split() if word not in words] == []
            page.get_by_text("Results", exact=True).click()
        results = page.evaluate("results")
        assert visited.faults() == []
    found = {name.removeprefix("results/tiny/"): about for name, about in results.items()}
    expected = {name: labels for items in CATEGORIES.values() for name, labels in items.items()}
    assert {name: list(about["labels"].values()) for name, about in found.items()} == expected
    captions = [about["caption"] for about in found.values()]
    assert all(len(caption) > 50 for caption in captions)
    # Three figures have one caption for both datasets.
    assert len(set(captions)) == len(captions) - 3


def test_the_archive_contains_the_same_files_unchanged(finished_workflow, chromium, tmp_path, monkeypatch):
    build(finished_workflow, tmp_path / "out.zip", monkeypatch)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = {path.name: path for path in tmp_path.glob("unpacked/*/data/raw/*/*")}
    made = [finished_workflow.folder / "results/tiny" / name for items in CATEGORIES.values() for name in items]
    assert sorted(unpacked) == sorted(path.name for path in made)
    assert [path.name for path in made if path.read_bytes() != unpacked[path.name].read_bytes()] == []
    (page,) = tmp_path.glob("unpacked/*/report.html")
    with visit(chromium, page) as visited:
        assert set(CATEGORIES) <= set(visited.page.inner_text("body").split())
        assert visited.faults() == []
