"""Each edit makes exactly the listed jobs due."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from workflow_copy import Workflow

DATASETS = ("tiny_iemocap", "tiny_mosei")
TABLES = {"scores_table"}
SCORES = {"collect_scores", "find_chance", "compare_systems", "audit_claims", "draw_robustness", "report"} | TABLES
RUNS = {"train", "evaluate", "draw_training"}
FIGURE = {"embed", "draw_figure3", "audit_claims", "report"}
NOISE = {"calibrate", "collect_calibration", "corrupt", "draw_calibration"}

TINY = """\
    noise: [gaussian]
    snr_db: [-10]
    repeats: 2
    folds: 1
"""

EDITS = {
    "a comment in a module": ("scripts/nmer/metrics.py", "import numpy as np", "import numpy as np  # arrays", set()),
    "a docstring of a system": ("scripts/nmer/systems/nmer.py", '"""NMER: a', '"""The NMER: a', set()),
    "the version": ("scripts/nmer/__init__.py", '__version__ = "', '__version__ = "9.', set()),
    "an error text": ("scripts/nmer/training/models.py", "cannot be read as a model", "is no model", set()),
    "the remedy of an error": ("scripts/nmer/errors.py", "Free disk space and run", "Delete something and run", set()),
    "a help text": ("scripts/train.py", 'help="CPU threads"', 'help="threads on the CPU"', set()),
    "a poll interval": ("scripts/nmer/locks.py", "SECONDS_BETWEEN_TRIES = 0.1", "SECONDS_BETWEEN_TRIES = 0.2", set()),
    "the interval of logging progress": (
        "scripts/nmer/progress.py",
        "LOG_INTERVAL_SECONDS = 10.0",
        "LOG_INTERVAL_SECONDS = 20.0",
        set(),
    ),
    "the interval of saving a training": (
        "scripts/nmer/training/loop.py",
        "CHECKPOINT_SECONDS = 30",
        "CHECKPOINT_SECONDS = 60",
        set(),
    ),
    "a warning of the training": (
        "scripts/nmer/training/checkpoints.py",
        "is damaged and is not used.",
        "is broken.",
        set(),
    ),
    "a printed label": (
        "scripts/nmer/results/labels.py",
        '"men": "MEN"',
        '"men": "M.E.N."',
        {"sizes_table", "scores_table", "audit_claims", "report"}
        | {"draw_robustness", "draw_training", "draw_figure3", "draw_calibration"},
    ),
    "the name of a key in a file of scores": (
        "scripts/nmer/names.py",
        'ALL_NOISY = "none"',
        'ALL_NOISY = "noisy"',
        {"build_features", "generate_corpus", "sizes_table", "pretrain", "train_clean"}
        | NOISE
        | RUNS
        | SCORES
        | FIGURE,
    ),
    "a default that a step passes on": (
        "scripts/nmer/plan/settings.py",
        "weight_decay: float = 1e-5",
        "weight_decay: float = 2e-5",
        {"pretrain", "train_clean"} | RUNS | SCORES,
    ),
    "an unused section of the configuration": ("config.yaml", "utterances: 520", "utterances: 540", set()),
    "the description of a key": ("workflow/schemas/config.schema.yaml", "Target SNRs", "The target SNRs", set()),
    "a noise kind that is not run": ("scripts/nmer/noise/kinds/impulse.py", "2 * (draw", "2.0 * (draw", set()),
    "a system's code": ("scripts/nmer/systems/nmer.py", "BOUND = 10.0", "BOUND = 9.0", RUNS | SCORES),
    "a loss weight of one system": (
        "config.yaml",
        "nmer: { layers: 1,",
        "nmer: { invariance_weight: 5.0, layers: 1,",
        RUNS | SCORES,
    ),
    "the learning rate of all systems": (
        "config.yaml",
        "training: {}",
        "training: { learning_rate: 0.001 }",
        {"pretrain", "train_clean"} | RUNS | SCORES,
    ),
    "a key written out at its default": (
        "config.yaml",
        "training: {}",
        "training: { learning_rate: 0.0002 }",
        {"report"},
    ),
    "the loss of stage-A pretraining": (
        "scripts/nmer/systems/pretraining.py",
        '| {"discrepancy": mean_cmd(invariant)}',
        '| {"discrepancy": 2 * mean_cmd(invariant)}',
        {"pretrain"} | RUNS | SCORES,
    ),
    "the noise seed": (
        "config.yaml",
        "noise:\n  kinds",
        "noise:\n  seed: 7\n  kinds",
        (NOISE - {"calibrate"}) | RUNS | SCORES | FIGURE,
    ),
    "the calibration": (
        "config.yaml",
        "noise:\n  kinds",
        "noise:\n  calibration: { mode: exact_abar }\n  kinds",
        NOISE | RUNS | SCORES | FIGURE,
    ),
    "the noise kind's code": (
        "scripts/nmer/noise/kinds/gaussian.py",
        "dtype=np.float32)",
        "dtype=np.float32) * 1",
        NOISE | RUNS | SCORES | FIGURE,
    ),
    "the perplexity of the t-SNE": ("config.yaml", TINY, TINY + "    embedding: { perplexity: 20 }\n", FIGURE),
    "the perplexity written out at its default": (
        "config.yaml",
        TINY,
        TINY + "    embedding: { perplexity: 30 }\n",
        {"report"},
    ),
    "the t-SNE's code": ("scripts/nmer/results/embedding.py", "COMPONENTS = 50", "COMPONENTS = 40", FIGURE),
    "an activation of one system": (
        "scripts/nmer/systems/men.py",
        '{"logits": self.classifier(concatenate(encodings))}',
        '{"logits": self.classifier(concatenate(encodings).relu())}',
        {"train_clean", "evaluate", "draw_training"} | SCORES,
    ),
    "the caption of a table": (
        "scripts/nmer/results/printed_tables.py",
        '2: "Table 2. {metrics}, averaged over {conditions}.',
        '2: "Table 2. {metrics}, each averaged over {conditions}.',
        {"sizes_table", "scores_table", "report"},
    ),
    "a caption of Snakemake's report": ("workflow/report/scores_table.rst", ".", ". ", set()),
    "an upgraded lock file": ("envs/requirements.lock", "torch==2.13.0", "torch==2.14.1", set()),
    "an upgraded environment": ("envs/torch.yaml", "torch==2.13.0", "torch==2.14.1", set()),
    "the threads of a training": ("config.yaml", "  threads: 1", "  threads: 2", {"report"}),
    "the key keep_models": ("config.yaml", "training: {}", "training: { keep_models: false }", {"report"}),
    "the number of repeats": (
        "config.yaml",
        TINY,
        TINY.replace("repeats: 2", "repeats: 3"),
        {"pretrain", "train_clean"} | RUNS | SCORES,
    ),
    "another experiment": ("config.yaml", "constant_epochs: 4\n      decay", "constant_epochs: 5\n      decay", set()),
    "the metrics that are shown": (
        "config.yaml",
        TINY,
        TINY + "    metrics: [WA, WF1]\n",
        {"scores_table", "draw_robustness", "report"},
    ),
    "a removed figure": (
        "config.yaml",
        "[robustness, training, figure3, calibration]",
        "[robustness, calibration]",
        {"audit_claims", "report"},
    ),
    "the metrics": (
        "scripts/nmer/metrics.py",
        "import numpy as np",
        "import numpy as np\n\nOLD = np",
        {"pretrain", "train_clean", "sizes_table", "draw_figure3", "draw_calibration"} | RUNS | SCORES,
    ),
    "a feature store with different content": (
        "results/features/tiny_mosei.h5.sha256",
        "  tiny_mosei",
        "0  tiny_mosei",
        NOISE | {"pretrain", "train_clean"} | RUNS | SCORES | FIGURE,
    ),
    "the loader of one layout": (
        "scripts/nmer/corpora/layouts/mosei_pickle.py",
        "from __future__ import annotations",
        "from __future__ import annotations\n\nOLD = 0",
        {"build_features", "sizes_table", "pretrain", "train_clean"} | RUNS | NOISE | SCORES | FIGURE,
    ),
    "the size of a synthetic corpus": (
        "config.yaml",
        "utterances: 400",
        "utterances: 420",
        {"generate_corpus", "build_features", "sizes_table", "pretrain", "train_clean"}
        | RUNS
        | NOISE
        | SCORES
        | FIGURE,
    ),
    "the paper's numbers": (
        "workflow/reference/paper_table5.csv",
        "0.6496",
        "0.6497",
        {"scores_table", "audit_claims", "report"},
    ),
    "the caption of a figure": (
        "scripts/nmer/results/figures/robustness.py",
        "Vertical lines: 95 % intervals",
        "Vertical lines are 95 % intervals",
        {"draw_robustness", "report"},
    ),
    "the code of a figure per dataset": (
        "scripts/nmer/results/figures/calibration.py",
        "SHORTEST = 20",
        "SHORTEST = 30",
        {"draw_calibration", "report"},
    ),
    "the code of a figure that is not drawn": (
        "scripts/nmer/results/figures/recall.py",
        "MOST_COLUMNS = 4",
        "MOST_COLUMNS = 5",
        set(),
    ),
    "the report's template": ("scripts/nmer/results/report.html.j2", "</body>", "</body> ", {"report"}),
    "the report's script": ("scripts/nmer/results/report.js.j2", "rows > 6", "rows > 7", {"report"}),
}


OF_ONE_DATASET = (
    "a feature store with different content",
    "the loader of one layout",
    "the size of a synthetic corpus",
)
"""Edits that concern only the dataset tiny_mosei."""

QUICK = (
    "a comment in a module",
    "a loss weight of one system",
    "a system's code",
    "the learning rate of all systems",
    "the noise kind's code",
)
"""The most informative edits. Each edit costs a dry run, so the others are slow tests."""

IN_CI = (
    "a noise kind that is not run",
    "the caption of a table",
    "the paper's numbers",
    "the perplexity of the t-SNE",
    "a feature store with different content",
)
"""The slow ones that continuous integration runs."""


def marks(edit: str) -> list[pytest.MarkDecorator]:
    """Return the marks of the test of an edit."""
    return [] if edit in QUICK else [pytest.mark.slow, *[pytest.mark.ci] * (edit in IN_CI)]


def due_rules(due) -> set[str]:
    """Return the rules that are due, with a separate name per figure plug-in, e.g. ``draw_training``."""
    drawn = {f"draw_{name.partition('_')[0]}" for (name,) in due.get("draw_figure", ())}
    return (set(due) - {"draw_figure"}) | drawn


def test_all_edits_of_wording_together_rerun_nothing(finished_workflow):
    with ExitStack() as edits:
        for name, old, new, expected in EDITS.values():
            if not expected and name.endswith(".py"):
                edits.enter_context(finished_workflow.edited(name, old, new))
        assert finished_workflow.due() == {}


@pytest.mark.parametrize("edit", [pytest.param(edit, marks=marks(edit)) for edit in EDITS])
def test_an_edit_reruns_exactly_what_depends_on_it(finished_workflow, edit):
    name, old, new, expected = EDITS[edit]
    with finished_workflow.edited(name, old, new):
        due = finished_workflow.due()
    assert due_rules(due) == expected
    if edit in OF_ONE_DATASET:
        made = (job for rule, jobs in due.items() if not rule.startswith("draw_") for job in jobs)
        assert not any("tiny_iemocap" in job for job in made)


def test_an_edit_of_one_system_reruns_no_other(finished_workflow):
    with finished_workflow.edited("scripts/nmer/systems/nmer.py", "BOUND = 10.0", "BOUND = 9.0"):
        due = finished_workflow.due()
    assert {job[1] if "nmer" not in job else "nmer" for job in due["train"] | due["evaluate"]} == {"nmer"}
    assert len(due["train"]) == 4
    assert len(due["evaluate"]) == 4


def test_a_change_of_a_paper_table_remakes_only_that_table(finished_workflow):
    with finished_workflow.edited("workflow/reference/paper_table5.csv", "0.6496", "0.6497"):
        assert finished_workflow.due()["scores_table"] == {("5",)}


def test_a_new_snr_keeps_every_training_of_the_old_ones(finished_workflow):
    with finished_workflow.edited("config.yaml", TINY, TINY.replace("[-10]", "[-10, -20]")):
        due = finished_workflow.due()
    assert {job for job in due["train"] if "gaussian_-10dB" in job} == set()
    assert len(due["train"]) == 4
    assert len(due["corrupt"]) == 2
    assert "pretrain" not in due
    assert "train_clean" not in due


def test_a_removed_snr_trains_nothing(finished_workflow):
    # Another level replaces the only one: the jobs of the old level are not considered again.
    with finished_workflow.edited("config.yaml", TINY, TINY.replace("[-10]", "[-20]")):
        due = finished_workflow.due()
    assert not any("gaussian_-10dB" in job for jobs in due.values() for job in jobs)


def test_a_new_fold_keeps_the_trainings_of_the_old_one(finished_workflow):
    with finished_workflow.edited("config.yaml", TINY, TINY.replace("folds: 1", "folds: 2")):
        due = finished_workflow.due()
    for rule in ("pretrain", "train_clean", "train"):
        assert all("2" in job for job in due[rule])
        assert all("tiny_iemocap" in job for job in due[rule])
    assert NOISE & set(due) == set()


def test_touching_files_reruns_nothing(finished_workflow):
    folder = finished_workflow.folder
    sources = [path for name in ("scripts", "workflow", "config.yaml") for path in _files(folder / name)]
    large = [
        *folder.glob("results/**/*.h5"),
        *folder.glob("results/**/*.safetensors"),
        *folder.glob("results/corpora/*/*"),
    ]
    assert len(sources) > 50
    assert len(large) > 10
    for path in sources + large:
        os.utime(path)
    assert finished_workflow.due() == {}


def test_the_number_of_cores_and_gpus_reruns_nothing(finished_workflow):
    finished = finished_workflow.snakemake("--dry-run", cores=8, gpus=1)
    assert "Nothing to be done" in finished.stdout + finished.stderr


@pytest.mark.slow
@pytest.mark.ci
def test_a_changed_raw_file_is_detected_and_a_touched_one_is_not(tmp_path):
    workflow, source = Workflow(tmp_path / "nmer"), tmp_path / "generated"
    step = ["scripts/generate_corpus.py", "--output", str(source), "--settings"]
    corpus = {"utterances": 80, "dims": {"a": 73, "v": 100, "l": 100}, "frames": 2}
    settings = json.dumps({"dataset": "mosi", "layout": "mosei_pickle", "generate": corpus})
    subprocess.run([sys.executable, *step, settings], cwd=workflow.folder, check=True)
    data = tmp_path / "data" / "cmu_mosi"
    data.mkdir(parents=True)
    corpus = next(source.glob("*.pkl")).rename(data / "mosi_senti_data.pkl")
    target = {"experiment": "mosi", "data": str(tmp_path / "data")}
    assert workflow.snakemake("features", **target).returncode == 0
    os.utime(corpus)
    assert "build_features" not in _output(workflow.snakemake("--dry-run", "features", **target))
    corpus.write_bytes(corpus.read_bytes() + b"\n")
    assert "build_features" in _output(workflow.snakemake("--dry-run", "features", **target))


MINE = """\
import numpy as np
from nmer.noise.registry import noise_kind


@noise_kind("mine")
def mine(shape, generator):
    return generator.standard_normal(shape, dtype=np.float32)  # as the Gaussian kind's
"""


@pytest.fixture(scope="module")
def wide_workflow(tmp_path_factory) -> Workflow:
    """A finished experiment with two noises (one user-defined), two levels and two folds, for removals and edits."""
    workflow = Workflow(tmp_path_factory.mktemp("wide") / "nmer")
    (workflow.folder / "mine.py").write_text(MINE)
    workflow.reduce("  kinds:\n", "  kinds:\n    mine: { file: mine.py }\n")
    workflow.reduce(
        "    datasets: [tiny_iemocap, tiny_mosei]\n    systems: [men, nmer]\n" + TINY,
        "    datasets: [tiny_iemocap]\n    systems: [men, nmer]\n" + WIDE,
    )
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


ALL_TABLES = {"sizes_table", "scores_table"}
WIDE = """\
    noise: [gaussian, mine]
    snr_db: [-10, -20]
    repeats: 1
    folds: 2
"""
COLLECTED = ALL_TABLES | SCORES | {"collect_calibration", "draw_calibration", "draw_figure3", "draw_training"}
"""Rules whose jobs read all runs."""

REMOVED_OR_EDITED = {
    "nothing": ("config.yaml", "repeats: 1", "repeats: 1", set()),
    "a removed level": ("config.yaml", WIDE, WIDE.replace("[-10, -20]", "[-10]"), COLLECTED),
    "a removed noise": (
        "config.yaml",
        WIDE,
        WIDE.replace("[gaussian, mine]", "[gaussian]"),
        COLLECTED - {"draw_figure3"},
    ),
    "a removed fold": (
        "config.yaml",
        WIDE,
        WIDE.replace("folds: 2", "folds: 1"),
        {"evaluate", "draw_training"} | SCORES,
    ),
    "a removed system": (
        "config.yaml",
        "systems: [men, nmer]\n" + WIDE,
        "systems: [nmer]\n" + WIDE,
        ALL_TABLES | SCORES | {"draw_training"},
    ),
    "a comment in the user's own noise": ("mine.py", "# as the", "# like the", set()),
    "the user's own noise": (
        "mine.py",
        "dtype=np.float32)",
        "dtype=np.float32) * 1",
        NOISE | RUNS | SCORES,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("edit", REMOVED_OR_EDITED)
def test_a_removal_or_an_edit_of_a_custom_noise_reruns_exactly_what_depends_on_it(wide_workflow, edit):
    name, old, new, expected = REMOVED_OR_EDITED[edit]
    with wide_workflow.edited(name, old, new):
        due = wide_workflow.due()
    assert due_rules(due) == expected
    if edit == "the user's own noise":
        for rule in ("calibrate", "corrupt", "train", "evaluate"):
            assert all(any(value.startswith("mine_") for value in job) for job in due[rule])


def _files(path):
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _output(finished) -> str:
    return finished.stdout + finished.stderr
