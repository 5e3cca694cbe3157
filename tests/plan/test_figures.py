"""Figures as plug-ins: their declarations in the plan, and drawing a user-defined figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from shipped import shipped_config

from nmer import fingerprint
from nmer.errors import ConfigError
from nmer.figures import SOURCES, figures, sources
from nmer.plan.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
MINE = """
from matplotlib.figure import Figure
import pandas as pd
from nmer.figures import Drawn, figure

@figure("mine", {declared}title="My figure", caption="What I look at.")
def draw({arguments}, *, threshold=0.5):
    table = pd.read_csv(intervals)
    drawn = Figure()
    drawn.subplots().plot(table["value"])
    return Drawn(table[table["value"] > threshold], drawn, note="A note.")
"""


@pytest.fixture
def mine(tmp_path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(declared='sources=("intervals", "settings"), ', arguments="intervals, settings"))
    return path


def plan_with(section: dict, wanted: list[str] | None = None, experiment: str = "tiny") -> Plan:
    config = shipped_config() | {"experiment": experiment, "figures": section}
    config["experiments"][experiment].pop("figures", None)
    if wanted is not None:
        config["experiments"][experiment]["figures"] = wanted
    return Plan(config)


def w(name: str) -> SimpleNamespace:
    return SimpleNamespace(figure=name)


@pytest.mark.parametrize("name", figures.shipped())
def test_every_built_in_figure_declares_the_arguments_of_its_function_and_its_texts(name):
    declaration, draw = figures.declaration(name), figures.load(name)
    parameters = draw.__code__.co_varnames[: draw.__code__.co_argcount]
    datasets = {"dataset"} if declaration.attributes.get("per_dataset") else set()
    assert set(parameters) == set(sources(declaration)) | datasets
    assert all(declaration.attributes[text] for text in ("title", "caption", "alternative", "position"))


def test_the_plan_reads_figures_without_importing_plotting_libraries():
    program = (
        "import sys, yaml; from nmer.plan.plan import Plan;"
        "plan = Plan(yaml.safe_load(open('config.yaml')) | {'experiment': 'tiny'}); assert plan.drawings;"
        "print([name for name in ('matplotlib', 'torch', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, text=True, capture_output=True, env={"PYTHONPATH": "scripts"}
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_figures_are_in_the_order_of_the_report_for_any_configured_order(mine):
    named = ["mine", "calibration", "ranks", "robustness"]
    plan = plan_with({"mine": {"file": str(mine)}}, named)
    assert plan.figures == ["robustness", "ranks", "calibration", "mine"]
    assert list(plan.drawings)[-1] == "mine"
    assert plan_with({"mine": {"file": str(mine)}}).figures[-1] == "mine", "drawn unless other figures are named"
    assert "mine" not in plan_with({"mine": {"file": str(mine)}}, ["ranks"]).drawings


def test_sources_of_figures_are_files_of_the_experiment_or_of_the_partial_report():
    plan = plan_with({}, ["conditions", "training", "figure3"])
    root = Path("results/tiny")
    conditions = plan.drawings["conditions_tiny_mosei"]
    assert plan.figure_sources(conditions) == {
        "scores": [root / "scores.csv"],
        "chance": [root / "statistics/chance.csv"],
    }
    assert plan.figure_sources(conditions, root / "partial")["scores"] == [root / "partial/scores.csv"]
    training = plan.figure_sources(plan.drawings["training_tiny_mosei"], root / "partial")
    assert training["histories"] == plan.histories("tiny_mosei")
    assert plan.draws_panels
    assert not plan_with({}, ["conditions"]).draws_panels


def test_every_source_that_can_be_declared_has_a_path(tmp_path):
    arguments = ", ".join(SOURCES)
    (tmp_path / "mine.py").write_text(MINE.format(declared=f"sources={SOURCES!r}, ", arguments=arguments))
    plan = plan_with({"mine": {"file": str(tmp_path / "mine.py")}}, ["mine"])
    paths = plan.figure_sources(plan.drawings["mine"])
    assert set(paths) == set(SOURCES) - {"settings", "schedule"}
    assert all(paths.values())
    assert {path.parts[3] for path in paths["predictions"]} == set(plan.datasets)


@pytest.mark.parametrize(
    ("section", "wanted", "message"),
    [
        ({}, ["robustnes"], "experiments.tiny.figures: Unknown figure 'robustnes'. Did you mean 'robustness'?"),
        ({"mine": {}}, None, "figures: Unknown figure 'mine'."),
        ({"mine": {"file": "FILE", "treshold": 1.0}}, None, "figures.mine: unknown key 'treshold'. Did you mean"),
        ({"mine": {"file": "FILE", "threshold": "high"}}, None, "figures.mine.threshold: 'high' is not like"),
        ({"other": {"file": "FILE"}}, None, "declares no figure 'other'"),
    ],
)
def test_a_fault_is_one_message_that_names_the_key(mine, section, wanted, message):
    section = {name: {**keys, "file": str(mine)} if "file" in keys else keys for name, keys in section.items()}
    with pytest.raises(ConfigError) as error:
        plan_with(section, wanted)
    assert message in str(error.value)


def test_an_unknown_source_and_two_figures_with_the_same_name_are_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(declared='sources=("interval",), ', arguments="interval"))
    with pytest.raises(ConfigError, match=r"mine.py: unknown source 'interval'. Did you mean 'intervals'\?"):
        plan_with({"mine": {"file": str(path)}})
    name = "recall_tiny_mosei"
    path.write_text(MINE.format(declared="", arguments="").replace('"mine"', f'"{name}"').replace("draw(,", "draw("))
    with pytest.raises(ConfigError, match=f"'{name}' and 'recall' both draw {name}|'recall' and '{name}' both draw"):
        plan_with({name: {"file": str(path)}})


def test_a_custom_figure_is_drawn_by_the_step_with_its_texts_and_options(tmp_path, mine):
    plan = plan_with({"mine": {"file": str(mine), "threshold": 0.6}}, ["mine"])
    pd.DataFrame({"system": ["nmer", "men"], "value": [0.7, 0.55]}).to_csv(tmp_path / "intervals.csv", index=False)
    result = json.loads(plan.figure_settings(w("mine")))
    assert (result["options"], result["file"]) == ({"threshold": 0.6}, str(mine))
    command = [sys.executable, "scripts/draw_figure.py", "--code", plan.code("draw_figure.py", w("mine"))]
    command += ["--settings", plan.figure_settings(w("mine")), "--source", "intervals", str(tmp_path / "intervals.csv")]
    finished = subprocess.run([*command, "--output-stem", str(tmp_path / "mine")], cwd=REPOSITORY, check=False)
    assert finished.returncode == 0
    assert pd.read_csv(tmp_path / "mine.csv")["value"].tolist() == [0.7]
    assert (tmp_path / "mine.png").stat().st_size > 0
    texts = json.loads((tmp_path / "mine.json").read_text())
    assert texts == {
        "title": "My figure",
        "caption": "What I look at. A note.",
        "alternative": "Figure My figure; its data are in the CSV file. Systems: NMER.",
        "curves": [],
        "empty": False,
    }
    assert plan.figure_labels(w("mine")) == {"figure": "My figure", "dataset": "all"}


LEVELS = """
from matplotlib.figure import Figure
import pandas as pd
from nmer.figures import Drawn, figure
from nmer.results.wording import level_title

@figure("mine", reads=(), title="My figure")
def draw():
    return Drawn(pd.DataFrame({"level": [level_title("drop_frames_0.3", None)]}), Figure())
"""


def test_a_custom_figure_that_reads_no_setting_prints_rates_by_their_label(tmp_path):
    (tmp_path / "mine.py").write_text(LEVELS)
    config = shipped_config() | {"experiment": "tiny"}
    config["figures"] = {"mine": {"file": str(tmp_path / "mine.py")}}
    levels = {"noise": ["drop_frames"], "levels": {"drop_frames": [0.3]}, "figures": ["mine"]}
    del config["experiments"]["tiny"]["snr_db"]
    config["experiments"]["tiny"] |= levels
    settings = Plan(config).figure_settings(w("mine"))
    command = [sys.executable, "scripts/draw_figure.py", "--settings", settings]
    subprocess.run([*command, "--output-stem", str(tmp_path / "mine")], cwd=REPOSITORY, check=True)
    assert pd.read_csv(tmp_path / "mine.csv")["level"].tolist() == ["drop frames, rate 0.3"]


def test_the_code_of_a_figure_does_not_affect_other_figures(mine):
    plan = plan_with({"mine": {"file": str(mine)}})
    before = {name: plan.code("draw_figure.py", w(name)) for name in plan.drawings}
    assert before["ranks"] != before["robustness"]
    mine.write_text(mine.read_text().replace("table[table", "table.copy()[table"))
    again = plan_with({"mine": {"file": str(mine)}})
    fingerprint.forget()
    after = {name: again.code("draw_figure.py", w(name)) for name in again.drawings}
    assert {name for name in before if before[name] != after[name]} == {"mine"}


def test_a_figure_is_not_redrawn_for_settings_that_it_does_not_read():
    def settings(**changes: object) -> dict[str, str]:
        config = shipped_config() | {"experiment": "tiny"}
        config["experiments"]["tiny"].pop("figures")
        config["experiments"]["tiny"] |= changes
        plan = Plan(config)
        return {drawing.figure: plan.figure_settings(w(name)) for name, drawing in plan.drawings.items()}

    before = settings()
    redrawn = {
        key: {name for name, text in settings(**{key: value}).items() if text != before[name]}
        for key, value in {"metrics": ["F1", "WA"], "conditions": ["l", "al"], "reference": "men"}.items()
    }
    assert redrawn == {
        "metrics": {"robustness", "ranks", "conditions"},
        "conditions": {"conditions"},
        "reference": {"ranks"},
    }


def test_a_custom_figure_is_redrawn_for_every_setting_unless_it_declares_what_it_reads(tmp_path):
    file = tmp_path / "mine.py"

    def settings(declared: str) -> dict:
        arguments = f'sources=("intervals", "settings"), {declared}'
        file.write_text(MINE.format(declared=arguments, arguments="intervals, settings"))
        config = shipped_config() | {"experiment": "tiny"}
        config["figures"] = {"mine": {"file": str(file)}}
        config["experiments"]["tiny"] |= {"figures": ["mine"], "metrics": ["F1"], "reference": "men"}
        return json.loads(Plan(config).figure_settings(w("mine")))["settings"]

    every, some = settings(""), settings('reads=("metrics",), ')
    assert every["metrics"] == ["F1"]
    assert every.pop("reference") == "men"
    assert some == every
    with pytest.raises(ConfigError, match=r"mine\.py: unknown name 'metric' in reads\. Did you mean 'metrics'\?"):
        settings('reads=("metric",), ')
