"""The example of a user-defined system learns, gives every result, and reruns separately."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from shipped import shipped_config
from snakemake.utils import update_config
from torch import nn
from workflow_copy import REPOSITORY, Workflow

from nmer.names import MODALITIES
from nmer.plan.plan import Plan
from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences, System

FILE = "examples/attention_fusion/attention_fusion.py"
OVERLAY = "examples/attention_fusion/config.yaml"
PAGE = REPOSITORY / "docs" / "own_system.md"

DIMS = {"a": 4, "v": 3, "l": 5}
LENGTHS = [1, 9, 4, 7, 2, 5, 3, 6]
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 0, 1])

SMALLER = {
    "datasets": ["tiny_mosei"],
    "systems": ["men", "attention_fusion"],
    "snr_db": [-10],
    "repeats": 1,
    "training": {"constant_epochs": 1, "decay_epochs": 1},
}
"""Overrides with which the shipped configuration runs in seconds."""

OWN_JOBS = {
    "check_system": {("attention_fusion",)},
    "train": {
        ("tiny_mosei", "attention_fusion", regime, "gaussian_-10dB", "1") for regime in ("incomplete", "all_noisy")
    },
    "evaluate": {
        ("tiny_mosei", "attention_fusion", regime, "gaussian_-10dB") for regime in ("incomplete", "all_noisy")
    },
    "collect_scores": {()},
    "scores_table": {("2",), ("5",)},
    "find_chance": {()},
    "compare_systems": {()},
    "audit_claims": {()},
    "draw_figure": {("robustness",)},
    "report": {()},
}


# The system


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def example(**options: float) -> System:
    return build_system("attention_fusion", DIMS, 3, 0.0, options, str(REPOSITORY / FILE))


def utterances() -> dict[str, list[torch.Tensor]]:
    """Return one utterance (frames, dim) per length for every modality."""
    return {m: [1.5 * torch.randn(length, dim) for length in LENGTHS] for m, dim in DIMS.items()}


def batch_of(per_modality: dict[str, list[torch.Tensor]], numbers: list[int]) -> Batch:
    """Return a batch of some utterances, with random teacher encodings."""
    lengths = torch.tensor([LENGTHS[number] for number in numbers])
    chosen = {m: [per_modality[m][number] for number in numbers] for m in DIMS}
    padded = {m: nn.utils.rnn.pad_sequence(frames, batch_first=True) for m, frames in chosen.items()}
    return Batch(
        observed={m: Sequences(values, lengths) for m, values in padded.items()},
        labels=LABELS[numbers],
        noisy={m: torch.zeros(len(numbers), dtype=torch.bool) for m in DIMS},
        teacher_clean={m: torch.randn(len(numbers), 128) for m in DIMS},
    )


def test_the_example_overfits_a_small_batch():
    system = example()
    batch = batch_of(utterances(), list(range(8)))
    optimiser = torch.optim.AdamW(system.parameters(), lr=1e-3)
    system.train()
    for _step in range(150):
        optimiser.zero_grad()
        sum(system.loss(system(batch), batch).values()).backward()
        optimiser.step()
    logits = system.eval()(batch)["logits"]
    assert nn.functional.cross_entropy(logits, batch.labels).item() < 0.05
    assert torch.equal(logits.argmax(dim=1), batch.labels)


@torch.no_grad()
def test_a_prediction_of_the_example_does_not_depend_on_its_neighbours():
    system, frames = example().eval(), utterances()
    single = torch.cat([system(batch_of(frames, [number]))["logits"] for number in range(8)])
    assert (single[0] - single[1]).abs().max() > 1e-3
    for numbers in ([0, 1, 2, 3, 4, 5, 6, 7], [6, 2, 0, 4], [3, 3, 0], [0, 4]):
        torch.testing.assert_close(system(batch_of(frames, numbers))["logits"], single[numbers], rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("rate", "training", "masked"), [(0.0, True, 0), (1.0, True, 1), (1.0, False, 0)])
def test_modality_dropout_masks_one_modality_in_training_only(rate, training, masked):
    system = example(modality_dropout=rate).train(training)
    weights = system(batch_of(utterances(), list(range(8)) * 8))["weights"]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(64))
    assert ((weights == 0).sum(dim=1) == masked).all()
    assert not masked or (weights == 0).any(dim=0).all()


def test_every_parameter_of_the_example_learns_and_is_clipped():
    system = example().train()
    batch = batch_of(utterances(), list(range(8)))
    sum(system.loss(system(batch), batch).values()).backward()
    clipped = {id(parameter) for part in system.subnetworks() for parameter in part.parameters()}
    for name, parameter in system.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        assert id(parameter) in clipped, name


# The page


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for tag, text in fenced if tag == language]


def configuration() -> dict:
    """Return config.yaml updated with the example's file, as Snakemake does it."""
    config = shipped_config()
    update_config(config, yaml.safe_load((REPOSITORY / OVERLAY).read_text()))
    return config


def test_the_page_quotes_the_example_unchanged():
    *quoted, _appended = blocks("python")
    assert len(quoted) == 3
    assert all(block in (REPOSITORY / FILE).read_text() for block in quoted)
    (lines,) = map(yaml.safe_load, blocks("yaml"))
    shipped = yaml.safe_load((REPOSITORY / OVERLAY).read_text())
    extended = yaml.safe_load((REPOSITORY / OVERLAY).read_text())
    update_config(extended, lines)
    assert extended == shipped


def test_the_page_quotes_shipped_systems_unchanged():
    sources = [path.read_text() for path in (REPOSITORY / "scripts/nmer/systems").glob("*.py")]
    assert blocks("py")
    assert all(any(block in source for source in sources) for block in blocks("py"))


@pytest.mark.parametrize("line", [line for block in blocks("") for line in block.splitlines()])
def test_a_command_of_the_page_works_as_written(fresh_workflow, line):
    program, *words = shlex.split(line)
    command = [Path(sys.executable).with_name(program), *words, "--dry-run"]
    finished = subprocess.run(command, cwd=fresh_workflow.folder, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"^train +\d+$", finished.stdout + finished.stderr, re.MULTILINE)


def test_the_pages_variant_with_a_teacher_is_planned_inherits_and_learns_the_teachers_encodings(tmp_path, monkeypatch):
    file = tmp_path / "attention_fusion.py"
    file.write_text((REPOSITORY / FILE).read_text() + "\n\n" + blocks("python")[-1])
    monkeypatch.chdir(REPOSITORY)
    config = configuration()
    config["systems"]["taught_fusion"] = {"file": str(file), "restoration_weight": 2.0}
    config["experiments"]["attention_fusion"]["systems"] = ["taught_fusion"]
    assert {training.system for training in Plan(config).trainings()} == {"men", "taught_fusion"}
    teacher = build_system("men", DIMS, 3, 0.0)
    system = build_system("taught_fusion", DIMS, 3, 0.0, {"restoration_weight": 2.0}, str(file)).eval()
    system.inherit(teacher)
    batch = batch_of(utterances(), list(range(8)))
    taught = {m: teacher.eval().encode(m, batch.observed[m]) for m in MODALITIES}
    assert system.loss(system(batch), Batch(**vars(batch) | {"teacher_clean": taught}))["restoration"] == 0
    terms = system.loss(system(batch), batch)
    assert set(terms) == {"classification", "restoration"}
    assert terms["restoration"] > 1


# The workflow


class ExampleWorkflow(Workflow):
    """A copy of the repository, run with the example's configuration and a second file that makes it smaller."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        smaller = {"experiments": {"attention_fusion": SMALLER}}
        (folder / "smaller.yaml").write_text(yaml.safe_dump(smaller))

    def snakemake(self, *arguments: str, **settings):
        """Run snakemake on the example's experiment; see :meth:`Workflow.snakemake`."""
        files = ("--configfile", OVERLAY, "smaller.yaml")
        return super().snakemake(*arguments, *files, experiment="attention_fusion", **settings)


@pytest.fixture(scope="module")
def finished_example(tmp_path_factory) -> ExampleWorkflow:
    workflow = ExampleWorkflow(tmp_path_factory.mktemp("example") / "nmer")
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


@pytest.fixture(scope="module")
def results(finished_example) -> Path:
    return finished_example.folder / "results" / "attention_fusion"


@pytest.mark.slow
@pytest.mark.ci
def test_the_example_is_trained_in_both_regimes_with_its_option(results):
    histories = sorted(results.glob("runs/tiny_mosei/attention_fusion/**/history.csv"))
    assert [path.relative_to(results / "runs/tiny_mosei/attention_fusion").parts[0] for path in histories] == [
        "all_noisy",
        "incomplete",
    ]
    assert all(pd.read_csv(path)["loss_classification"].notna().all() for path in histories)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("number", [2, 5])
def test_the_example_is_in_a_table_and_its_printed_forms(results, number):
    table = pd.read_csv(results / "tables" / f"table{number}.csv").query("system == 'attention_fusion'")
    assert set(table["metric"]) == {"WA", "UA"}
    assert table["mean"].between(0, 1).all()
    assert table["paper"].isna().all()
    for suffix in ("md", "tex", "html"):
        printed = (results / "tables" / f"table{number}.{suffix}").read_text().replace("\\_", "_")
        assert "attention_fusion" in printed, suffix


@pytest.mark.slow
@pytest.mark.ci
def test_the_curve_of_the_example_has_the_numbers_of_the_table(results):
    curve = pd.read_csv(results / "figures" / "robustness.csv").query("system == 'attention_fusion'")
    table = pd.read_csv(results / "tables" / "table2.csv").query("system == 'attention_fusion'")
    drawn, printed = curve.set_index("metric")["value"].to_dict(), table.set_index("metric")["mean"].to_dict()
    assert drawn == pytest.approx(printed, abs=1e-5)
    assert set(drawn) == {"WA", "UA"}
    assert (results / "figures" / "robustness.png").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.ci
def test_the_example_is_in_both_tables_of_the_report(results):
    assert (results / "report.html").read_text().count('<th scope="row">attention_fusion</th>') >= 2


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "edit",
    [(FILE, "HIDDEN**0.5", "HIDDEN**0.4"), (OVERLAY, "modality_dropout: 0.3", "modality_dropout: 0.4")],
    ids=["code", "option"],
)
def test_an_edit_of_the_example_reruns_only_its_jobs(finished_example, edit):
    with finished_example.edited(*edit):
        assert finished_example.due() == OWN_JOBS


@pytest.mark.slow
@pytest.mark.ci
def test_a_comment_in_the_example_reruns_nothing(finished_example):
    with finished_example.edited(FILE, "# The encoders differ", "# Encoders may differ"):
        assert finished_example.due() == {}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ((FILE, "class AttentionFusion(System):", "class AttentionFusion(System)"), f"{FILE}, line 17: not valid"),
        ((FILE, '@system("attention_fusion",', '@system("fusion",'), f"{FILE}: declares no system 'attention_fusion'."),
        ((OVERLAY, "modality_dropout:", "modality_dropuot:"), "unknown key 'modality_dropuot'. Did you mean"),
        ((OVERLAY, "modality_dropout: 0.3", "modality_dropout: often"), "modality_dropout: 'often' is not like its"),
        ((OVERLAY, "attention_fusion.py,", "fusion.py,"), "examples/attention_fusion/fusion.py: no such file."),
    ],
    ids=["syntax", "name", "option", "value", "file"],
)
def test_a_mistake_in_the_example_gives_one_message_before_any_job(fresh_workflow, edit, message):
    with fresh_workflow.edited(*edit):
        finished = fresh_workflow.snakemake("--configfile", OVERLAY, experiment="attention_fusion")
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert output.count(message) == 1, output
    assert "Traceback" not in output
    assert not (fresh_workflow.folder / "results").exists()


@pytest.mark.slow
def test_a_system_without_logits_is_refused_before_anything_is_trained(tmp_path):
    workflow = ExampleWorkflow(tmp_path / "nmer")
    with workflow.edited(FILE, '"logits"', '"scores"'):
        finished = workflow.snakemake("--quiet", "rules")
    assert finished.returncode == 1
    assert "fuse(…) must return a dictionary with 'logits'; it returns scores" in finished.stdout + finished.stderr
    assert not list((workflow.folder / "results" / "attention_fusion").rglob("attention_fusion/**/history.csv"))
