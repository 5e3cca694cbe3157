"""The robustness figure and the report: whole, self-contained, and the same every time."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from synthetic_results import make_scores, run_step

from nmer.results.figures import draw_robustness, robustness
from nmer.results.report import as_yaml, comparison, headlines, read_calibration
from nmer.results.style import save_figure, system_styles
from nmer.results.tables import table_2

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects headings, ids, addresses and tags left open."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.addresses, self.alternatives, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.alternatives.append(attributes.get("alt", ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, small_settings, small_scores):
    """A folder with scores, one table, two figures, a calibration and a validation report; and the settings."""
    tmp_path = tmp_path_factory.mktemp("experiment")
    settings = small_settings | {"experiment": "tiny <&>", "config": {"noise": {"seed": 0}}, "jobs": 7}
    small_scores.to_csv(tmp_path / "scores.csv", index=False)
    common = ("--settings", json.dumps(settings), "--scores", tmp_path / "scores.csv", "--output-stem")
    run_step("make_table.py", "--table", 2, *common, tmp_path / "tables/table2")
    run_step("draw_robustness.py", *common, tmp_path / "figures/robustness")
    calibration = "dataset,modality,noise,snr_db,variance,T,alpha_bar,attained_db,effective_db\n"
    calibration += "mosi,a,gaussian,-10,1,46,0.09,-10.04,-10.04\nmosi,l,impulse,0,0.03,2,0.8991,-5.73,-0.5\n"
    calibration += "mosi,l,zero,,0.03,,0,,\n"
    (tmp_path / "calibration.csv").write_text(calibration)
    split = {"utterances": 5, "class_counts": {"negative": 2, "positive": 3}}
    described = {
        "dataset": "mosi",
        "utterances": 15,
        "classes": ["negative", "positive"],
        "class_counts": {"negative": 6, "positive": 9},
        "folds": [{"fold": 1, "train": split, "val": split, "test": split}],
        "dims": {"a": 4, "v": 5, "l": 6},
        "lengths": {m: {"min": 2, "max": 9} for m in "avl"},
        "repairs": {"a": {"non_finite": 12}},
        "dropped": {"empty text": 1},
        "warnings": ["<script>alert(1)</script>"],
    }
    (tmp_path / "mosi.json").write_text(json.dumps(described))
    return tmp_path, settings


def render(folder, settings, output):
    run_step(
        "render_report.py",
        *("--settings", json.dumps(settings), "--scores", folder / "scores.csv"),
        *("--reports", folder / "mosi.json", "--calibration", folder / "calibration.csv"),
        *("--tables", folder / "tables/table2", "--figures", folder / "figures/robustness"),
        *("--commit", "0123abc", "--output", output),
    )
    return output.read_text(encoding="utf-8")


def test_the_report_is_whole_and_needs_nothing_from_outside(experiment):
    folder, settings = experiment
    text = render(folder, settings, folder / "report.html")
    page = Page(text)
    assert page.open == []
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<link", re.sub(r"base64,[^\"]+", "", text))
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        elif not address.startswith("data:"):
            assert (folder / address).is_file(), address
    assert page.alternatives
    assert all(page.alternatives)


def test_the_report_says_what_matters(experiment):
    folder, settings = experiment
    text = render(folder, settings, folder / "report.html")
    assert "Synthetic data." in text
    assert "mean nothing about the paper" in text
    assert "tiny &lt;&amp;&gt;" in text
    assert "&lt;script&gt;" in text
    assert "−5.73 (off)" in text
    assert "0123abc" in text
    assert "seed: 0" in text
    assert "12 non finite" in text
    assert re.search(r"the best of 3 systems is (NMER|MEN|my_system) with WA 0\.\d{4}", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    real = settings | {
        "datasets": {name: {**about, "synthetic": False} for name, about in settings["datasets"].items()}
    }
    assert "Synthetic data." not in render(folder, real, folder / "real.html")


def test_the_report_is_equal_the_second_time(experiment):
    folder, settings = experiment
    assert render(folder, settings, folder / "one.html") == render(folder, settings, folder / "two.html")


def test_headlines_name_the_best_system_and_the_loss(small_settings, small_scores):
    scores = small_scores.copy()
    level = {-10: 0.8, -40: 0.5}
    scores["value"] = scores["snr_db"].map(level).astype(float) - 0.1 * (scores["system"] != "nmer")
    sentences = headlines(scores, small_settings | {"datasets": {"mosi": {"paper_name": None}}})
    assert "mosi, Gaussian noise, −10 dB: the best of 3 systems is NMER with WA 0.8000" in sentences[0]
    assert "NMER −0.3000" in sentences[2]


def test_the_comparison_with_the_paper_counts_only_real_cells(small_settings, small_scores, reference):
    paper = pd.read_csv(reference / "paper_table2.csv")
    table = table_2(small_scores, small_settings, paper.astype({"snr_db": "Int64"}))
    differences = table["difference"].dropna()
    (sentence,) = comparison([table])
    assert f"{len(differences)} cells" in sentence
    assert f"{differences.abs().mean():.4f}" in sentence
    assert comparison([table.assign(difference=None)]) == []


def test_only_a_miss_of_more_than_one_decibel_is_marked(experiment):
    rows = read_calibration([experiment[0] / "calibration.csv"])
    assert [row["off"] for row in rows] == [False, True, False]
    assert rows[2]["level"] == rows[2]["steps"] == "–"


def test_the_configuration_is_shown_as_valid_yaml():
    yaml = pytest.importorskip("yaml")
    value = {"a": {"b": [1, {"c": "yes", "d": []}], "e": None}, "f": "x: y", "g": 0.1, "h": {}, "i": ["p", True]}
    assert yaml.safe_load(as_yaml(value)) == value


def test_the_robustness_figure_is_equal_the_second_time(tmp_path, small_settings, small_scores):
    settings = small_settings | {"snr_db": {"gaussian": [-10, -40]}}
    for name in ("one", "two"):
        save_figure(draw_robustness(robustness(small_scores, settings), settings), tmp_path / name)
    for suffix in (".png", ".pdf"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_the_robustness_curves_are_the_cells_of_table_2(small_settings, small_scores, reference):
    paper = pd.read_csv(reference / "paper_table2.csv").astype({"snr_db": "Int64"})
    key = ["dataset", "system", "noise", "snr_db", "metric"]
    table = table_2(small_scores, small_settings, paper).dropna(subset="mean").set_index(key)["mean"]
    curves = robustness(small_scores, small_settings).set_index(key)["mean"]
    pd.testing.assert_series_equal(curves.sort_index(), table.sort_index())


def test_without_a_level_the_robustness_figure_is_empty_and_not_an_error(tmp_path, small_settings):
    settings = small_settings | {"snr_db": {"zero": []}}
    scores = make_scores(small_settings | {"snr_db": {"zero": [None]}})
    curves = robustness(scores, settings)
    assert curves.empty
    save_figure(draw_robustness(curves, settings), tmp_path / "empty")


def test_a_system_looks_the_same_whoever_stands_beside_it():
    few, many = system_styles(["nmer", "men"]), system_styles(["men", "mmin", "mine", "yours", "nmer"])
    assert few["nmer"] == many["nmer"]
    assert len({(style.color, style.marker) for style in many.values()}) == len(many)
