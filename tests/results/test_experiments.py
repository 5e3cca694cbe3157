"""Two experiments are compared cell by cell, only if both were scored on the same utterances."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from unittest import mock

import compare_experiments as step
import numpy as np
import pandas as pd
import pytest
from synthetic_results import run_step

from nmer import command
from nmer.digests import record_path
from nmer.names import predictions_path
from nmer.results.experiments import compare_experiments, shown_rows, why_not_comparable
from nmer.results.report import read_compared

SIX = ("a", "v", "l", "av", "al", "vl")
NOISE = ("corpus", "nmer", "incomplete", "gaussian", -10)


def write_experiment(root: Path, name: str, seed: int, runs=(NOISE,), repeats: int = 2, **changed) -> pd.DataFrame:
    """Write random scores, and predictions next to them; return the scores."""
    generator, rows = np.random.default_rng(seed), []
    for run in runs:
        dataset, system, regime, noise, snr_db = run
        stem = f"{noise}_{snr_db}dB" if snr_db else noise or "clean"
        path = root / name / "scores" / dataset / system / regime / f"{stem}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        predictions = []
        for fold in (1, 2):
            for repeat in range(1, repeats + 1):
                for condition in SIX if noise else ("avl",):
                    for metric in ("WA", "UA"):
                        rows.append((*run, condition, fold, repeat, metric, generator.random(), 2))
                    for number in range(2):
                        key = {"utterance": f"u{fold}{number}", "condition": condition, "fold": fold, "label": number}
                        predictions.append(key | {"repeat": repeat, "prob_no": 0.5, "prob_yes": 0.5})
        table = pd.DataFrame(predictions)
        for column, value in changed.items():
            table.loc[table.index[-1], column] = value
        table.to_csv(predictions_path(path), index=False)
    columns = [
        *("dataset", "system", "regime", "noise", "snr_db", "condition"),
        "fold",
        "repeat",
        "metric",
        "value",
        "n",
    ]
    scores = pd.DataFrame(rows, columns=columns)
    scores.to_csv(root / name / "scores.csv", index=False)
    return scores


def compare(root: Path, *arguments: object) -> None:
    with mock.patch.object(sys, "argv", ["compare_experiments", *map(str, arguments), "--results", str(root)]):
        command.run(step.main)


def failure(capsys, root: Path, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        compare(root, *arguments, "--csv", root / "out.csv")
    assert ended.value.code == 1
    assert not (root / "out.csv").exists()
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_every_cell_has_both_means_and_their_difference(tmp_path, capsys):
    one, two = write_experiment(tmp_path, "one", 1), write_experiment(tmp_path, "two", 2, repeats=3)
    compare(tmp_path, "one", "two", "--csv", tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == 7 * 2
    cell = table[(table["condition"] == "al") & (table["metric"] == "UA")].iloc[0]
    for place, scores, repeats in (("first", one, 2), ("second", two, 3)):
        selected = scores[(scores["condition"] == "al") & (scores["metric"] == "UA")]
        by_repeat = selected.groupby("repeat")["value"].mean()
        assert cell[f"{place}_mean"] == pytest.approx(by_repeat.mean())
        assert cell[f"{place}_std"] == pytest.approx(by_repeat.std())
        assert cell[f"{place}_repeats"] == repeats
    assert cell["difference"] == pytest.approx(cell["second_mean"] - cell["first_mean"])
    means = [part[part["metric"] == "UA"]["value"].mean() for part in (one, two)]
    printed = next(line for line in capsys.readouterr().out.splitlines() if "| average | UA |" in line)
    assert f"| {100 * means[0]:.2f} ±" in printed
    assert printed.endswith(f"| {100 * (means[1] - means[0]):+.2f} |")


@pytest.mark.parametrize(
    ("regime", "scored", "printed"),
    [
        ("incomplete", ["l", "al", "average", "none", "avl"], ["average"]),
        ("all_noisy", ["l", "al", "average", "none", "avl"], ["none"]),  # Table 5
        ("clean", ["l", "al", "average", "none", "avl"], ["average", "none"]),  # MEN, in Tables 2 and 5
        ("clean", ["avl"], ["avl"]),
        ("all_noisy", ["none"], ["none"]),
    ],
)
def test_the_printed_conditions_are_those_of_the_tables(regime, scored, printed):
    run = {"dataset": "corpus", "system": "nmer", "regime": regime, "noise": "gaussian", "snr_db": -10}
    rows = [run | {"condition": condition, "metric": metric} for metric in ("UA", "WF1") for condition in scored]
    assert shown_rows(pd.DataFrame(rows), ["UA"])["condition"].tolist() == printed


def test_runs_of_one_experiment_are_listed_and_clean_scores_compared(tmp_path, capsys):
    clean, other = ("corpus", "unimodal_a", "clean", "", None), ("corpus", "mmin", "incomplete", "impulse", -20)
    write_experiment(tmp_path, "one", 1, runs=(NOISE, clean, other))
    write_experiment(tmp_path, "two", 2, runs=(NOISE, clean))
    compare(tmp_path, "one", "two", "--markdown", tmp_path / "out.md", "--metrics", "UA")
    text = (tmp_path / "out.md").read_text()
    assert "- one: mmin on corpus, regime incomplete, Impulse, −20 dB" in text
    assert "| corpus | nmer | incomplete | Gaussian, −10 dB | average | UA |" in text
    assert "| corpus | unimodal_a | clean | clean | avl | UA |" in text
    assert "| WA |" not in text
    assert capsys.readouterr().out == ""


def test_rates_are_printed_as_in_the_reports_of_both_experiments(tmp_path, capsys):
    first, second = (("corpus", "nmer", "incomplete", f"drop_frames_{rate}", None) for rate in (0.3, 0.6))
    for name, runs in (("one", (first, second)), ("two", (first,))):
        write_experiment(tmp_path, name, 1, runs=runs)
        rates = {"drop_frames": {noise: float(noise.rpartition("_")[2]) for *_, noise, _level in runs}}
        record_path(tmp_path / name / "report.html").write_text(json.dumps({"settings": {"rates": rates}}))
    compare(tmp_path, "one", "two", "--csv", tmp_path / "out.csv")
    printed = capsys.readouterr().out
    assert "| corpus | nmer | incomplete | drop frames, rate 0.3 | average | UA |" in printed
    assert "- one: nmer on corpus, regime incomplete, drop frames, rate 0.6\n" in printed
    assert set(pd.read_csv(tmp_path / "out.csv")["noise"]) == {"drop_frames_0.3"}
    settings = json.dumps({"first": "one", "second": "two", "rates": {"drop_frames": {"drop_frames_0.3": 0.3}}})
    files, stem = [tmp_path / name / "scores.csv" for name in ("one", "two")], tmp_path / "beside_one"
    where = ["--results", tmp_path, "--output-stem", stem]
    run_step("compare_with.py", "--settings", settings, "--scores", *files, *where)
    html = read_compared(str(stem))["html"]
    assert "drop frames, rate 0.3" in html
    assert "regime incomplete, drop frames, rate 0.6" in html


@pytest.mark.parametrize("changed", [{"utterance": "other"}, {"label": 0}, {"condition": "a"}, {"fold": 3}])
def test_pairs_scored_on_different_utterances_are_refused(tmp_path, capsys, changed):
    write_experiment(tmp_path, "one", 1, repeats=1)
    write_experiment(tmp_path, "two", 2, repeats=1, **changed)
    message = failure(capsys, tmp_path, "one", "two")
    assert (
        "nmer on corpus, regime incomplete, Gaussian, −10 dB: 'one' and 'two' were not scored on the same utterances"
        in message
    )


def test_wrong_calls_are_refused_in_one_line(tmp_path, capsys):
    write_experiment(tmp_path, "first", 1)
    write_experiment(tmp_path, "second", 2, runs=(("corpus", "men", "clean", "gaussian", -10),))
    write_experiment(tmp_path, "third", 3)
    assert "'frist' has no scores" in failure(capsys, tmp_path, "frist", "second")
    assert "Did you mean 'first'?" in failure(capsys, tmp_path, "frist", "second")
    assert "given twice" in failure(capsys, tmp_path, "first", "first")
    assert "no run in common" in failure(capsys, tmp_path, "first", "second")
    assert "--metrics: unknown metric 'UAR'" in failure(capsys, tmp_path, "first", "third", "--metrics", "UAR")
    message = failure(capsys, tmp_path, "first", "third", "--metrics", "F1")
    assert "the scores contain none of F1. Choose from: WA, UA." in message


@pytest.mark.parametrize("several", [False, True])
def test_a_missing_or_damaged_file_is_named_with_the_command_that_makes_it(tmp_path, capsys, several):
    results = tmp_path / "results"
    for seed, name in enumerate(("one", "two")):
        write_experiment(results, name, seed)
    predictions = next((results / "two").rglob("*_predictions.csv.gz"))
    if several:  # tested at several levels
        moved = predictions.parent / "trained_mixed"
        predictions.parent.rename(results / "moved")
        predictions.parent.mkdir()
        (results / "moved").rename(moved)
        predictions = moved / predictions.name
        (moved / "gaussian_-10dB.csv").touch()
    relative = predictions.relative_to(tmp_path)
    predictions.write_text("damaged")
    message = failure(capsys, results, "one", "two")
    assert message.startswith(f"error: {predictions}: cannot be read as predictions")
    assert message.endswith(f". Delete it and run: nmer run two -- {relative}\n")
    predictions.unlink()
    message = failure(capsys, results, "one", "two")
    assert message.startswith(f"error: {predictions}: does not exist")
    assert message.endswith(f" Make it: nmer run two -- {relative}\n")
    (results / "two" / "scores.csv").unlink()
    expected = "does not exist. Make it: nmer run two -- results/two/scores.csv\n"
    assert failure(capsys, results, "one", "two") == f"error: {results / 'two' / 'scores.csv'}: {expected}"


def test_the_report_compares_another_experiment_with_its_own(tmp_path):
    scores = [write_experiment(tmp_path, name, seed) for seed, name in enumerate(("one", "two"), start=1)]
    settings = {"first": "one", "second": "two", "metrics": ["UA"]}
    files = [tmp_path / name / "scores.csv" for name in ("one", "two")]
    stem, where = tmp_path / "beside_one", ["--results", tmp_path]
    run_step("compare_with.py", "--settings", json.dumps(settings), "--scores", *files, *where, "--output-stem", stem)
    first, second = (part[part["metric"] == "UA"]["value"].mean() for part in scores)
    compared = read_compared(str(stem))
    assert compared["title"] == "Comparison with experiment one"
    rows = ET.fromstring(f"<div>{compared['html']}</div>").findall(".//tr")
    heads, cells = ([" ".join("".join(cell.itertext()).split()) for cell in row] for row in rows)
    row = dict(zip(heads, cells, strict=True))
    assert (row["System"], row["Noise"], row["Condition"]) == ("NMER", "Gaussian, −10 dB", "average")
    assert row["one"].startswith(f"{first:.4f}")
    assert row["two"].startswith(f"{second:.4f}")
    assert row["Difference"].replace("−", "-") == f"{second - first:+.4f}"
    assert [file.name.removesuffix(".gz") for file in compared["files"]] == ["beside_one.csv", "beside_one.md"]


def test_an_unfinished_experiment_is_compared_by_the_scores_that_it_has(tmp_path):
    impulse = ("corpus", "nmer", "incomplete", "impulse", -20)
    write_experiment(tmp_path, "one", 1, runs=(NOISE, impulse))
    so_far = write_experiment(tmp_path, "two", 2, runs=(NOISE, impulse)).query("noise == 'gaussian'")
    (tmp_path / "two" / "scores.csv").unlink()
    files = [tmp_path / "one" / "scores.csv", tmp_path / "so_far.csv"]
    so_far.to_csv(files[1], index=False)
    table, only = compare_experiments(tmp_path, "one", "two", files)
    assert set(table["noise"]) == {"gaussian"}
    assert only == ["one: nmer on corpus, regime incomplete, Impulse, −20 dB"]
    assert why_not_comparable(*files) == ""
    so_far.assign(system="mmin").to_csv(files[1], index=False)
    assert why_not_comparable(*files) == "no run has scores in both experiments yet"
    assert why_not_comparable(tmp_path / "none.csv", files[1]) == f"{tmp_path / 'none.csv'} does not exist"
