"""The report of the paper's whole grid, from random scores, is small and usable in a browser."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tools
from browser import SCHEMES, WIDTHS, visit
from synthetic_contributions import make_contrasts
from synthetic_results import draw_figure, make_intervals, make_scores, make_unimodal_scores, run_step

from nmer.embedding_settings import SAMPLES
from nmer.report_settings import ReportSettings, UnimodalSettings
from nmer.results.contributions import COLUMNS, write_contributions
from nmer.results.statistics import comparisons, intervals, ranks

LARGEST_BYTES = 10 * 10**6
LEVELS = (-10, -20, -30, -40)
CLASSES = ("happy", "angry", "sad", "neutral")

pytestmark = [pytest.mark.slow, pytest.mark.tools]


@pytest.fixture(scope="module")
def settings(paper_settings) -> ReportSettings:
    """Report settings for the full protocol of the paper, including the uni-modal systems."""
    unimodal = UnimodalSettings(["iemocap"], [0, *LEVELS], clean_reference=False)
    systems = [*paper_settings.systems, "unimodal_a", "unimodal_v", "unimodal_l"]
    return replace(
        paper_settings, unimodal=unimodal, systems=systems, experiment="paper", config={"repeats": 3}, jobs=887
    )


@pytest.fixture(scope="module")
def large_report(tmp_path_factory, settings, paper_settings) -> Path:
    """The page, rendered by the steps of the workflow."""
    folder = tmp_path_factory.mktemp("paper")
    scores = pd.concat([make_scores(paper_settings, folds=10), make_unimodal_scores(settings)], ignore_index=True)
    scores.to_csv(folder / "scores.csv", index=False)
    datasets = list(settings.datasets)
    for dataset in datasets:
        write_validation_report(folder / f"{dataset}.json", dataset)
        write_calibration(folder / f"{dataset}.csv", dataset)
        write_panels(folder, dataset)
    reports, calibrations = ([folder / f"{dataset}.{suffix}" for dataset in datasets] for suffix in ("json", "csv"))
    tables = [folder / "tables" / f"table{number}" for number in range(1, 6)]
    for number, stem in enumerate(tables, start=1):
        arguments = ["--reports", *reports] if number == 1 else ["--scores", folder / "scores.csv"]
        run_step(
            "make_table.py", "--table", number, "--settings", settings.to_json(), *arguments, "--output-stem", stem
        )
    statistics = write_statistics(folder / "statistics", scores, settings)
    text, scored = settings.to_json(), ("--scores", folder / "scores.csv")
    figures = draw(folder, settings, statistics, dict(zip(datasets, calibrations, strict=True)))
    distances = [stem.with_suffix(".csv") for stem in figures if stem.name.startswith("figure3")]
    audited = ("--contributions", statistics / "contributions.h5", "--distances", *distances)
    run_step("audit_claims.py", "--settings", text, *audited, "--output-stem", folder / "tables" / "claims")
    run_step(
        "render_report.py",
        *("--settings", text, *scored, "--comparisons", statistics / "comparisons.csv"),
        *("--reports", *reports, "--calibration", *calibrations, "--tables", *tables, "--figures", *figures),
        *("--claims", folder / "tables" / "claims", "--commit", "0123abc", "--output", folder / "report.html"),
    )
    return folder / "report.html"


def draw(folder: Path, settings: ReportSettings, statistics: Path, calibrations: dict[str, Path]) -> list[Path]:
    """Draw every figure of the paper's experiment; return their stems."""
    drawn = [folder / "figures" / "robustness", folder / "figures" / "ranks"]
    draw_figure("robustness", drawn[0], settings=settings, intervals=statistics / "intervals.csv")
    draw_figure("ranks", drawn[1], settings=settings, ranks=statistics / "ranks.csv")
    counts = {"confusion": statistics / "confusion.csv"}
    for dataset, calibration in calibrations.items():
        points, distances = (sorted(folder.glob(f"{dataset}_*_{content}.csv")) for content in ("points", "distances"))
        data = {
            "conditions": {"scores": folder / "scores.csv"},
            "recall": counts,
            "confusion": counts,
            "figure3": {"points": points, "distances": distances},
            "calibration": {"calibration": [calibration]},
            "training": {"histories": write_histories(folder / "runs", dataset, settings)},
        }
        for kind, files in data.items():
            drawn.append(folder / "figures" / f"{kind}_{dataset}")
            draw_figure(kind, drawn[-1], dataset, settings, **files)
    return drawn


def write_statistics(folder: Path, scores: pd.DataFrame, settings: ReportSettings) -> Path:
    """Write the output of compare_systems.py from scores, with random variances and counts; return its folder."""
    folder.mkdir()
    random = np.random.default_rng(0)
    cells = make_intervals(scores)[list(COLUMNS)].astype({"snr_db": "Int64"})
    contrasts = make_contrasts(cells, spread=0.01)
    write_contributions(folder / "contributions.h5", contrasts.measured)
    runs = cells.loc[cells["condition"] != "average", ["dataset", "system", "regime", "noise", "snr_db", "condition"]]
    pairs = pd.DataFrame(itertools.product(CLASSES, CLASSES), columns=["label", "predicted"])
    confusion = runs.drop_duplicates().merge(pairs, how="cross")
    tables = {
        "intervals": intervals(contrasts),
        "comparisons": comparisons(contrasts, settings.multimodal_systems),
        "ranks": ranks(scores, settings.multimodal_systems),
        "confusion": confusion.assign(count=random.integers(1, 100, len(confusion))),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def write_validation_report(path: Path, dataset: str) -> None:
    """Write the report of build_features.py for a corpus of the size of IEMOCAP."""
    classes = list(CLASSES)
    split = {"utterances": 553, "class_counts": dict.fromkeys(classes, 138)}
    about = {
        "dataset": dataset,
        "utterances": 5531,
        "classes": classes,
        "class_counts": dict.fromkeys(classes, 1383),
        "folds": [{"fold": fold, "train": split, "val": split, "test": split} for fold in range(1, 11)],
        "dims": {"a": 130, "v": 342, "l": 1024},
        "lengths": {modality: {"min": 4, "max": 3412} for modality in "avl"},
        "repairs": {},
        "warnings": [],
    }
    path.write_text(json.dumps(about))


def write_calibration(path: Path, dataset: str) -> None:
    """Write the collected calibration of both noise kinds at every level."""
    header = "dataset,modality,noise,snr_db,variance,T,alpha_bar,attained_db,effective_db,target_db"
    rows = [
        f"{dataset},{modality},{noise},{level},1.0,{40 - level},0.0912345,{level}.031,{level}.031,{level}"
        for noise, level, modality in itertools.product(("gaussian", "impulse"), LEVELS, "avl")
    ]
    path.write_text("\n".join([header, *rows, ""]))


def write_histories(folder: Path, dataset: str, settings: ReportSettings) -> list[Path]:
    """Write histories of 60 epochs for all trainings behind the training curves; return their files."""
    generator, files = np.random.default_rng(0), []
    rows = pd.DataFrame(itertools.product((1, 2, 3), range(1, 61)), columns=["repeat", "epoch"])
    for system, fold in itertools.product(settings.multimodal_systems, range(1, 11)):
        places = ["clean"] if system == "men" else [f"incomplete/gaussian_{level}dB" for level in (-10, -40)]
        for place in places:
            files.append(folder / dataset / system / place / f"fold{fold}" / "history.csv")
            files[-1].parent.mkdir(parents=True)
            scored = {name: generator.uniform(0.3, 0.9, len(rows)) for name in ("loss", "val_UA")}
            rows.assign(**scored).to_csv(files[-1], index=False)
    return files


def write_panels(folder: Path, dataset: str) -> None:
    """Write the t-SNE panels of Figure 3 with the usual number of utterances at random positions."""
    generator = np.random.default_rng(0)
    for level in LEVELS:
        about = {"dataset": dataset, "noise": "gaussian", "snr_db": level}
        points = [
            {**about, "modality": modality, "kind": kind, "utterance": f"u{number}", "x": x, "y": y}
            for modality, kind in itertools.product("avl", ("original", "noisy"))
            for number, (x, y) in enumerate(generator.normal(size=(SAMPLES, 2)))
        ]
        distances = [
            {**about, "modality": modality, "samples": SAMPLES, "tsne_distance": 2.5, "raw_distance": 0.5}
            for modality in ("a", "v", "l", "mean")
        ]
        pd.DataFrame(points).to_csv(folder / f"{dataset}_{level}_points.csv", index=False)
        pd.DataFrame(distances).to_csv(folder / f"{dataset}_{level}_distances.csv", index=False)


def test_the_report_of_the_whole_grid_is_smaller_than_ten_megabytes(large_report):
    text = large_report.read_text(encoding="utf-8")
    assert len(re.findall("<td>0[.][0-9]{4}", text)) > 400, "the grid is in the page"
    assert text.count("<img ") == 14
    assert len(text.encode()) < LARGEST_BYTES


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_the_whole_grid_fits_the_window_and_is_accessible(chromium, large_report, width, scheme):
    with visit(chromium, large_report, width, scheme) as visited:
        assert visited.faults() == []
        assert visited.accessibility_faults() == []


def test_the_widest_table_is_printed_whole(chromium, large_report, tmp_path):
    pdftotext = tools.program("pdftotext")
    with visit(chromium, large_report) as visited:
        visited.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
        cells = visited.page.evaluate("[...document.querySelectorAll('td')].map(cell => cell.textContent)")
    text = subprocess.run([pdftotext, tmp_path / "report.pdf", "-"], capture_output=True, check=True).stdout.decode()
    numbers = {number for cell in cells for number in re.findall(r"\d\.\d{4}", cell)}
    assert len(numbers) > 500
    # Text outside the paper is missing from the text of the PDF pages.
    assert {number for number in numbers if number not in text} == set()


def test_tables_sort_and_filter(chromium, large_report):
    with visit(chromium, large_report) as visited:
        table = visited.page.locator("#table2 ~ .scroll table").first

        def column(index):
            return [row.locator("th, td").nth(index).inner_text() for row in table.locator("tbody tr:visible").all()]

        original = column(0)
        head = table.locator("button.sort").nth(1)
        head.click()
        values = [float(text.split()[0]) for text in column(1)]
        assert values == sorted(values, reverse=True)
        head.click()
        assert [float(text.split()[0]) for text in column(1)] == values[::-1]
        head.click()
        assert column(0) == original
        visited.page.locator("#table2 ~ label.filter input").first.fill("mmin")
        assert column(0) == ["MMIN", "IF-MMIN"]
        assert visited.accessibility_faults() == []


def test_curves_show_their_values_and_the_page_offers_its_files(chromium, large_report, tmp_path):
    with visit(chromium, large_report) as visited:
        page = visited.page
        image = page.locator("figure[data-name=robustness] img")
        page.locator("#figure-robustness").evaluate("heading => heading.scrollIntoView()")
        x, y, _place, value = page.evaluate(
            "JSON.parse(document.querySelector('figure[data-name=robustness] script').textContent)[0].points[0]"
        )
        box, padding = image.bounding_box(), 8
        left, top = box["x"] + padding, box["y"] + padding
        page.mouse.move(left + x * (box["width"] - 2 * padding), top + y * (box["height"] - 2 * padding))
        assert page.locator("figure[data-name=robustness] .tip").inner_text() == f"MEN\nSNR in dB −10: {value}"
        for name in ("table2.csv", "robustness.pdf"):
            with page.expect_download() as downloaded:
                page.locator(f"a[download='{name}']").click()
            folder = "figures" if name.startswith("robustness") else "tables"
            assert Path(downloaded.value.path()).read_bytes() == (large_report.parent / folder / name).read_bytes()
        with page.expect_download() as downloaded:
            page.locator("a[download='robustness.png']").click()
        assert Path(downloaded.value.path()).read_bytes().startswith(b"\x89PNG")


def test_without_scripts_the_page_is_complete(chromium, large_report):
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(large_report.resolve().as_uri())
    assert page.locator("table:visible").count() > 8
    assert page.locator("img:visible").count() == 14
    assert not page.locator("details table").is_visible()
    page.locator("details summary").click()
    assert page.locator("details table").is_visible()
    context.close()


def test_captions_and_first_columns_stay_in_a_narrow_window(chromium, large_report):
    with visit(chromium, large_report, width=360) as visited:
        region = visited.page.locator("#table2 ~ .scroll").first
        region.evaluate("region => { region.scrollLeft = 400; }")
        for part in ("caption > span", "tbody th"):
            box = region.locator(part).first.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
