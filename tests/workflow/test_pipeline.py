"""The workflow end to end on the `tiny` experiment: outputs are reproducible and traceable to predictions."""

from __future__ import annotations

import filecmp
import json
import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from workflow_copy import Workflow

SIX = ["a", "v", "l", "av", "al", "vl"]


def test_the_second_run_does_nothing(finished_workflow):
    finished = finished_workflow.snakemake()
    assert finished.returncode == 0
    assert "Nothing to be done" in finished.stdout + finished.stderr


def test_snakemake_checks_for_ready_jobs_once_per_finished_job(finished_workflow):
    # Otherwise it checks every second, and again a second after every job that finishes.
    output = (finished_workflow.folder.parents[1] / "output").read_text()
    done, total = re.findall(r"(\d+) of (\d+) steps \(100%\) done", output)[-1]
    assert done == total
    assert output.count("Ready jobs: ") <= int(total)


@pytest.mark.slow
@pytest.mark.ci
def test_tables_and_scores_do_not_depend_on_the_number_of_cores(finished_workflow, tmp_path):
    again = Workflow(tmp_path / "nmer")
    finished = again.snakemake(cores=1)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    original = finished_workflow.folder
    names = [
        path.relative_to(original)
        for pattern in ("results/tiny/tables/*", "results/tiny/scores/**/*.*", "results/tiny/**/history.csv")
        for path in original.glob(pattern)
    ]
    assert len(names) > 30
    assert filecmp.cmpfiles(original, again.folder, names, shallow=False)[1:] == ([], [])


def test_every_table_cell_can_be_recomputed_from_the_predictions(finished_workflow):
    root = finished_workflow.folder / "results" / "tiny"
    table = pd.concat(pd.read_csv(root / "tables" / f"table{number}.csv").assign(table=number) for number in (2, 3, 5))
    table = table[table["mean"].notna()]
    cells = {}
    for dataset, (system, regime) in product(
        ["tiny_iemocap", "tiny_mosei"], [("men", "clean"), ("nmer", "incomplete"), ("nmer", "all_noisy")]
    ):
        folder = root / "scores" / dataset / system / regime
        predictions = pd.read_csv(folder / "gaussian_-10dB_predictions.csv.gz")
        probability = predictions.filter(like="prob_")
        predictions["correct"] = probability.to_numpy().argmax(axis=1) == predictions["label"]
        by_condition = predictions.groupby(["repeat", "fold", "condition"])
        accuracy = by_condition["correct"].mean().unstack()
        recall = predictions.groupby(["repeat", "fold", "condition", "label"])["correct"].mean()
        recall = recall.groupby(["repeat", "fold", "condition"]).mean().unstack()
        for metric, values in (("WA", accuracy), ("UA", recall)):
            values["average"] = values[SIX].mean(axis=1)
            for condition, column in values.groupby("repeat").mean().items():
                cells[dataset, system, regime, condition, metric] = column.mean(), column.std(ddof=1)
    assert len(table) == 2 * (4 + 14 + 4)
    for row in table.itertuples():
        regime = "clean" if row.system == "men" else "all_noisy" if row.table == 5 else "incomplete"
        mean, std = cells[row.dataset, row.system, regime, row.condition, row.metric]
        assert row.mean == pytest.approx(mean, abs=1e-6)
        assert row.std == pytest.approx(std, abs=1e-6)


def test_every_score_contains_its_number_of_utterances(finished_workflow):
    scores = pd.read_csv(finished_workflow.folder / "results/tiny/scores.csv")
    # Hidden files next to them are provenance records.
    reports = finished_workflow.folder.glob("results/features/[!.]*.json")
    tested = {report["dataset"]: report["folds"][0]["test"]["utterances"] for report in map(_json, reports)}
    one = scores[(scores["metric"] == "WA") & (scores["repeat"] == 1)].groupby(["dataset", "system", "regime"])
    for (dataset, _, _), part in one:
        counts = part.set_index("condition")["n"]
        assert counts["none"] == counts["avl"] == tested[dataset]
        # Every utterance under all six conditions (IEMOCAP), or under one (MOSEI; SPEC 5.4).
        assert counts[SIX].sum() == tested[dataset] * (6 if dataset == "tiny_iemocap" else 1)


def test_the_report_is_one_page_that_needs_no_network(finished_workflow):
    page = (finished_workflow.folder / "results/tiny/report.html").read_text()
    # The page can be sent by email: it embeds the tables and figures to download.
    assert len(re.findall(r'href="data:', page)) > 10
    assert re.findall(r'href="(?!data:)([^#"][^"]*)"', page) == []
    loaded = re.findall(r"""(?:src|href)=["']([^"'#]+)""", page)
    assert all(not link.startswith(("http:", "https:", "//")) for link in loaded)
    assert "synthetic" in page


def test_no_temporary_file_or_checkpoint_remains(finished_workflow):
    left = [path for path in (finished_workflow.folder / "results").rglob("*") if path.name.endswith(".tmp")]
    assert left == []
    assert list(finished_workflow.folder.glob("results/tiny/checkpoints/*/*.pt")) == []


def test_a_damaged_corpus_stops_with_one_message_and_leaves_no_output(tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    data = tmp_path / "data"
    corpus = data / "cmu_mosi" / "mosi_senti_data.pkl"
    corpus.parent.mkdir(parents=True)
    corpus.write_bytes(b"not a pickle")
    finished = workflow.snakemake(experiment="mosi", data=str(data))
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert len(re.findall(r"^error: .*mosi_senti_data\.pkl", output, re.MULTILINE)) == 1
    assert "Traceback" not in output
    assert not list(workflow.folder.glob("results/features/mosi*"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("training: {}", "training: { learning_rat: 0.1 }"), "training: unknown key 'learning_rat'. Did you mean"),
        (("training: {}", "training: { learning_rate: 1e-3 }"), "training.learning_rate: '1e-3' is text to YAML"),
    ],
)
def test_a_fault_in_the_configuration_stops_before_any_job(fresh_workflow, edit, message):
    with fresh_workflow.edited("config.yaml", *edit):
        finished = fresh_workflow.snakemake()
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert message in output
    assert "Traceback" not in output
    assert not (fresh_workflow.folder / "results").exists()


def test_a_missing_corpus_is_named_before_any_job(fresh_workflow):
    finished = fresh_workflow.snakemake(experiment="mosi", data="nowhere")
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert "datasets.mosi: nowhere/cmu_mosi/mosi_senti_data.pkl: no such file" in output
    assert "Traceback" not in output


SEVEN = ["men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv"]
UNIMODAL = ["unimodal_a", "unimodal_v", "unimodal_l"]


@pytest.mark.slow
def test_every_system_reaches_every_table_and_table_4_can_be_recomputed_from_the_predictions(tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    edit = (
        "    datasets: [tiny_iemocap, tiny_mosei]\n    systems: [men, nmer]\n",
        f"    datasets: [tiny_iemocap]\n    systems: [{', '.join(SEVEN + UNIMODAL)}]\n"
        "    unimodal: { clean_reference: true }\n",
    )
    with workflow.edited("config.yaml", *edit):
        finished = workflow.snakemake()
        assert finished.returncode == 0, finished.stdout + finished.stderr
        again = workflow.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr
    root = workflow.folder / "results" / "tiny"
    tables = {number: pd.read_csv(root / "tables" / f"table{number}.csv") for number in (2, 3, 4, 5)}
    run = {number: table[table["mean"].notna()] for number, table in tables.items()}
    assert {number: sorted(set(table["system"])) for number, table in run.items()} == {
        2: sorted(SEVEN),
        3: ["nmer"],
        4: sorted(UNIMODAL),
        5: sorted(SEVEN[:5]),
    }
    levels = {
        ("avl", None): "clean/clean",
        ("none", 0): "all_noisy/gaussian_0dB",
        ("none", -10): "all_noisy/gaussian_-10dB",
    }
    assert len(run[4]) == len(UNIMODAL) * len(levels) * 2
    for row in run[4].itertuples():
        level = levels[row.condition, None if pd.isna(row.snr_db) else int(row.snr_db)]
        predictions = pd.read_csv(root / "scores" / "tiny_iemocap" / row.system / f"{level}_predictions.csv.gz")
        assert set(predictions["condition"]) == {row.condition}
        right = predictions.filter(like="prob_").to_numpy().argmax(axis=1) == predictions["label"]
        groups = ["repeat", "label"] if row.metric == "UA" else ["repeat"]
        by_repeat = right.groupby([predictions[name] for name in groups]).mean().groupby("repeat").mean()
        assert row.mean == pytest.approx(by_repeat.mean(), abs=1e-6)
        assert row.std == pytest.approx(by_repeat.std(ddof=1), abs=1e-6)


def _json(path: Path) -> dict:
    return json.loads(path.read_text())
