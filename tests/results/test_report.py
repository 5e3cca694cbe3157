"""The report is complete, self-contained and reproducible."""

import base64
import gzip
import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml
from published import published
from synthetic_results import draw_figure, make_intervals, make_scores, make_unimodal_scores, run_step

from nmer.errors import DataError
from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.embedded import embed
from nmer.results.figures.robustness import robustness
from nmer.results.legend import legend
from nmer.results.report import (
    comparison,
    headlines,
    read_calibration,
    read_claims,
    read_figure,
    read_table,
    what_was_run,
)
from nmer.results.tables import read_paper, table_2, table_4

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects headings, ids, addresses and unclosed tags."""

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
def experiment(tmp_path_factory, mixed_settings, mixed_scores):
    """A folder with scores, two tables, a figure, a calibration and a validation report; and the settings."""
    tmp_path = tmp_path_factory.mktemp("experiment")
    settings = replace(mixed_settings, experiment="tiny <&>", config={"noise": {"seed": 0}}, jobs=7)
    mixed_scores.to_csv(tmp_path / "scores.csv", index=False)
    common = ("--settings", settings.to_json(), "--scores", tmp_path / "scores.csv", "--output-stem")
    for number in (2, 4):
        run_step("make_table.py", "--table", number, *common, tmp_path / f"tables/table{number}")
    make_intervals(mixed_scores).to_csv(tmp_path / "intervals.csv", index=False)
    draw_figure("robustness", tmp_path / "figures/robustness", settings=settings, intervals=tmp_path / "intervals.csv")
    calibration = "dataset,modality,noise,snr_db,variance,T,alpha_bar,attained_db,effective_db,target_db\n"
    calibration += "mosi,a,gaussian,-10,1,46,0.09,-10.04,-10.04,-10\nmosi,l,impulse,0,0.03,2,0.8991,-5.73,-0.5,0\n"
    calibration += "mosi,l,zero,,0.03,,0,,,\nmosi,l,gaussian,0,0.03,,0.9709,0.0,0.0,0\n"
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
        *("--settings", settings.to_json(), "--scores", folder / "scores.csv"),
        *("--reports", folder / "mosi.json", "--calibration", folder / "calibration.csv"),
        *("--tables", folder / "tables/table2", folder / "tables/table4", "--figures", folder / "figures/robustness"),
        *("--commit", "0123abc", "--output", output),
    )
    return output.read_text(encoding="utf-8")


def test_the_report_is_complete_and_self_contained(experiment):
    folder, settings = experiment
    text = render(folder, settings, folder / "report.html")
    page = Page(text)
    assert page.open == []
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script[^>]* src|<link", re.sub(r"base64,[^\"]+", "", text))
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        else:
            assert address.startswith("data:"), "the page can be sent by email"
    assert page.alternatives
    assert all(page.alternatives)


def test_the_report_contains_its_key_sentences(experiment):
    folder, settings = experiment
    text = render(folder, settings, folder / "report.html")
    assert "Synthetic data." in text
    assert "cannot be compared with the paper" in text
    assert "tiny &lt;&amp;&gt;" in text
    assert "&lt;script&gt;" in text
    assert "−5.73 (off)" in text
    assert "0123abc" in text
    assert "seed: 0" in text
    assert "12 non finite" in text
    assert re.search(r"the best of 3 systems is (NMER|MEN|my_system) with WA 0\.\d{4}", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    real = replace(
        settings, datasets={name: replace(about, synthetic=False) for name, about in settings.datasets.items()}
    )
    assert "Synthetic data." not in render(folder, real, folder / "real.html")


def test_the_report_is_equal_the_second_time(experiment):
    folder, settings = experiment
    assert render(folder, settings, folder / "one.html") == render(folder, settings, folder / "two.html")


def test_headlines_name_the_best_system_and_the_loss(small_settings, small_scores):
    scores = small_scores.copy()
    level = {-10: 0.8, -40: 0.5}
    scores["value"] = scores["snr_db"].map(level).astype(float) - 0.1 * (scores["system"] != "nmer")
    sentences = headlines(scores, replace(small_settings, datasets={"mosi": DatasetSettings()}))
    assert "mosi, Gaussian, −10 dB: the best of 3 systems is NMER with WA 0.8000" in sentences[0]
    assert "NMER −0.3000" in sentences[2]


def test_headlines_count_systems_and_reference_rows_separately(small_settings):
    settings = replace(small_settings, systems=["nmer", "mmin", "logistic_regression", "majority"])
    scores = make_scores(settings)
    best = scores.assign(value=0.5 + 0.1 * (scores["system"] == "logistic_regression"))
    assert "the best of 2 systems and 1 reference is logistic regression (reference)" in headlines(best, settings)[0]
    settings = replace(settings, systems=["nmer", "ridge", "logistic_regression"])
    assert "the best of 1 system and 2 references is" in headlines(make_scores(settings), settings)[0]


def test_the_comparison_with_the_paper_counts_only_real_cells(
    small_settings, small_scores, unimodal_settings, unimodal_scores, reference
):
    paper = published(reference, 2)
    table = table_2(small_scores, small_settings, paper.astype({"snr_db": "Int64"}))
    fourth = table_4(unimodal_scores, unimodal_settings, read_paper(reference, 4))
    assert fourth["difference"].notna().sum() == 3 * 3 * 2, "neither the clean row nor synthetic data"
    differences = pd.concat([table["difference"], fourth["difference"]]).dropna()
    (sentence,) = comparison([table, fourth])
    assert f"{len(differences)} cells" in sentence
    assert f"{differences.abs().mean():.4f}" in sentence
    assert comparison([table.assign(difference=None)]) == []


def test_only_a_deviation_of_more_than_one_decibel_is_marked(experiment):
    rows = read_calibration([experiment[0] / "calibration.csv"])
    assert [row["off"] for row in rows] == [False, True, False, False]
    assert rows[2]["level"] == rows[2]["steps"] == "–"


def test_a_level_without_steps_is_shown_as_solved_for_exactly(experiment, tmp_path):
    folder, settings = experiment
    rows = read_calibration([folder / "calibration.csv"])
    assert [row["exact"] for row in rows] == [False, False, False, True]
    assert (rows[3]["steps"], rows[3]["alpha_bar"], rows[3]["attained"]) == ("exact", "0.9709", "+0.00")
    page = render(folder, settings, folder / "exact.html")
    assert "<td>exact</td><td>0.9709</td>" in page
    assert "alpha_bar was solved for" in page
    # A column without any steps is also read.
    (tmp_path / "all.csv").write_text("\n".join((folder / "calibration.csv").read_text().splitlines()[::4]))
    assert [row["steps"] for row in read_calibration([tmp_path / "all.csv"])] == ["exact"]


def test_table_4_is_between_the_others_and_the_summary_names_its_modalities(experiment):
    folder, settings = experiment
    page = render(folder, settings, folder / "four.html")
    assert page.index('<h3 id="table2">Table 2') < page.index('<h3 id="table4">Table 4') < page.index('id="figures"')
    assert "Clean: trained and tested without noise, for reference; not in the paper." in page
    summary = dict(re.findall("<dt>(.+?)</dt><dd>(.+?)</dd>", page))
    assert summary["Systems"] == "MEN, NMER, my_system"
    assert summary["Uni-modal"] == (
        "acoustic, visual, lexical on IEMOCAP, demo_iemocap (synthetic); Gaussian (0, −10, −40 dB); trained on equally "
        "noisy data; also trained and tested without noise for reference, which the paper does not report"
    )


def test_the_summary_states_what_unimodal_systems_were_trained_on(unimodal_settings):
    about = replace(unimodal_settings.unimodal, clean_reference=False)
    settings = replace(unimodal_settings, unimodal=about)
    sentence = dict(what_was_run(make_unimodal_scores(settings, "clean"), settings))["Uni-modal"]
    assert sentence.endswith("; trained on clean data")
    settings = replace(settings, unimodal=None, systems=["nmer"])
    assert "Uni-modal" not in dict(what_was_run(make_scores(settings), settings))


def test_folds_that_are_not_the_first_ones_are_named(small_settings, small_scores):
    scores = pd.concat([small_scores.assign(dataset="iemocap", fold=fold) for fold in (2, 4)])
    assert dict(what_was_run(scores, small_settings))["Folds"] == "iemocap 2 (number 2, 4)"
    assert dict(what_was_run(scores.assign(fold=1), small_settings))["Folds"] == "iemocap 1"


def test_a_report_of_only_unimodal_systems_has_no_headlines_or_curves(unimodal_settings, unimodal_scores):
    assert headlines(unimodal_scores, unimodal_settings) == []
    assert robustness(make_intervals(unimodal_scores), unimodal_settings).empty
    assert dict(what_was_run(unimodal_scores, unimodal_settings))["Systems"] == "none"


def test_unimodal_systems_change_no_headline_and_no_curve(small_settings, small_scores, mixed_settings, mixed_scores):
    assert headlines(mixed_scores, mixed_settings) == headlines(small_scores, small_settings)
    pd.testing.assert_frame_equal(
        robustness(make_intervals(mixed_scores), mixed_settings),
        robustness(make_intervals(small_scores), small_settings),
    )


def test_the_configuration_is_shown_as_yaml(experiment):
    folder, settings = experiment
    value = {"a": {"b": [1, {"c": "yes", "d": []}], "e": None}, "f": "x: <y>", "g": 0.1, "h": {}, "i": ["p", True]}
    page = render(folder, replace(settings, config=value), folder / "configured.html")
    block = re.search('<pre tabindex="0">(.*?)</pre>', page, re.DOTALL).group(1)
    assert yaml.safe_load(html.unescape(block)) == value


def test_missing_results_leave_no_empty_section(experiment, tmp_path, monkeypatch):
    folder, settings = experiment
    monkeypatch.chdir(tmp_path)  # the repository may contain benchmarks of real runs
    run_step(
        "render_report.py",
        *("--settings", settings.to_json(), "--scores", folder / "scores.csv"),
        *("--commit", "0123abc", "--output", tmp_path / "bare.html"),
    )
    page = (tmp_path / "bare.html").read_text()
    sections = re.findall('<section aria-labelledby="(.+?)">', page)
    assert sections == ["summary", "configuration", "versions"]
    assert re.findall('<li><a href="#(.+?)">', page) == sections


def test_results_come_first(experiment, tmp_path, monkeypatch):
    folder, settings = experiment
    monkeypatch.chdir(tmp_path)
    page = render(folder, settings, folder / "ordered.html")
    assert re.findall('<section aria-labelledby="(.+?)">', page) == [
        *("summary", "tables", "figures", "datasets", "calibration", "configuration", "versions")
    ]


def test_tables_without_cells_and_figures_with_only_a_sentence_are_left_out(experiment, tmp_path, unimodal_settings):
    folder, settings = experiment
    none = replace(settings, systems=["my_system"])
    run_step(
        "make_table.py",
        *("--table", 3, "--settings", none.to_json(), "--scores", folder / "scores.csv"),
        *("--output-stem", tmp_path / "table3"),
    )
    assert read_table(tmp_path / "table3") is None
    empty = make_intervals(make_unimodal_scores(unimodal_settings))
    empty.to_csv(tmp_path / "intervals.csv", index=False)
    draw_figure("robustness", tmp_path / "robustness", settings=settings, intervals=tmp_path / "intervals.csv")
    assert read_figure(tmp_path / "robustness") is None


@pytest.mark.parametrize(
    ("systems", "paper_name", "verdicts", "shown"),
    [
        (["nmer"], "IEMOCAP", ["holds", "not run"], True),
        (["nmer"], "IEMOCAP", ["not run"], False),
        (["my_system"], "IEMOCAP", ["holds"], False),
        (["nmer"], None, ["holds"], False),
    ],
)
def test_claims_are_shown_if_systems_of_the_paper_ran_on_its_corpora(tmp_path, systems, paper_name, verdicts, shown):
    pd.DataFrame({"verdict": verdicts}).to_csv(tmp_path / "claims.csv", index=False)
    for suffix in (".html", ".md"):
        (tmp_path / f"claims{suffix}").write_text("<p>audit</p>")
    settings = ReportSettings({"mine": DatasetSettings(paper_name)}, systems, {"gaussian": [0]}, "gaussian")
    assert bool(read_claims(str(tmp_path / "claims"), settings)) == shown


def test_files_are_embedded_whole_and_long_ones_compressed(tmp_path):
    (tmp_path / "short.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "long.csv").write_bytes(b"0.123456\n" * 20_000)
    short, long = embed(tmp_path / "short.csv"), embed(tmp_path / "long.csv")
    assert (short.label, short.name) == ("CSV", "short.csv")
    assert base64.b64decode(short.address.split(",")[1]) == b"a,b\n1,2\n"
    assert (long.label, long.name) == ("CSV (gzip)", "long.csv.gz")
    content = base64.b64decode(long.address.split(",")[1])
    assert gzip.decompress(content) == b"0.123456\n" * 20_000
    assert embed(tmp_path / "long.csv") == long
    with pytest.raises(DataError, match=r"none\.csv"):
        embed(tmp_path / "none.csv")


def test_the_legend_has_a_line_for_every_metric_and_system(mixed_settings):
    settings = replace(mixed_settings, descriptions={"my_system": "Attention over the modalities."})
    rows = dict(legend(settings))
    assert {"WA", "UA", "SNR", "a, v, l", "Conditions", "MEN", "NMER", "acoustic only"} < set(rows)
    assert rows["my_system"] == "Attention over the modalities."
    assert dict(legend(mixed_settings))["my_system"] == "user-defined system"


@pytest.mark.parametrize("name", ["table2", "summary"])
def test_a_figure_may_have_the_name_of_a_table_or_of_a_section(experiment, tmp_path, name):
    folder, settings = experiment
    shutil.copytree(folder, tmp_path / "copy")
    for file in (tmp_path / "copy/figures").glob("robustness.*"):
        file.rename(file.with_stem(name))
    figure = tmp_path / "copy/figures" / name
    tables = ("--tables", folder / "tables/table2", "--figures", figure)
    arguments = ("--settings", settings.to_json(), "--scores", folder / "scores.csv", *tables)
    run_step("render_report.py", *arguments, "--commit", "0123abc", "--output", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {name, f"figure-{name}"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_offers_every_file_of_a_table(experiment, tmp_path):
    folder, _settings = experiment
    for suffix in (".csv", ".html", ".md", ".tex"):
        shutil.copy(folder / f"tables/table2{suffix}", tmp_path / f"sweep{suffix}")
    assert [file.name for file in read_table(tmp_path / "sweep")["files"]] == ["sweep.csv", "sweep.md", "sweep.tex"]
    (tmp_path / "sweep.tex").unlink()
    assert [file.name for file in read_table(tmp_path / "sweep")["files"]] == ["sweep.csv", "sweep.md"]
