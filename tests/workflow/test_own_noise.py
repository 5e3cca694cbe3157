"""The example of a user-defined noise kind draws as documented and adds its jobs to the plan."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from shipped import shipped_config
from snakemake.utils import update_config
from workflow_copy import REPOSITORY

from nmer.errors import ConfigError
from nmer.noise.corruption import NoiseSource
from nmer.noise.registry import noise_kinds, noise_power
from nmer.plan.config import check_config
from nmer.plan.plan import Plan

FILE = "examples/own_noise/bursts.py"
OVERLAY = "examples/own_noise/config.yaml"
PAGE = REPOSITORY / "docs" / "own_noise.md"


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for tag, text in fenced if tag == language]


def configuration() -> dict:
    """Return config.yaml updated with the example's file, as Snakemake does."""
    config = shipped_config()
    update_config(config, yaml.safe_load((REPOSITORY / OVERLAY).read_text()))
    return config


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def source(file: str = FILE, name: str = "bursts", **options: float) -> NoiseSource:
    return NoiseSource.load(name, "demo", options=options, file=file)


@pytest.mark.parametrize("options", [{}, {"share": 0.6, "length": 4}, {"share": 1.0, "length": 1}])
def test_the_example_has_the_stated_power(options):
    eps = [source(**options).eps(f"utterance{number}", "a", (50, 20)) for number in range(400)]
    stated = noise_power(noise_kinds.load("bursts", FILE), options)
    assert stated == options.get("share", 0.3)
    assert np.mean(np.square(eps)) == pytest.approx(stated, rel=0.06)
    assert all(draw.dtype == np.float32 and draw.shape == (50, 20) for draw in eps)


def test_a_burst_hits_all_dimensions_for_its_length():
    noisy = [source(share=0.3, length=4).eps(f"utterance{number}", "v", (40, 6)) != 0 for number in range(50)]
    assert all((frames.all(axis=1) == frames.any(axis=1)).all() for frames in noisy)
    for frames in noisy:
        edges = np.flatnonzero(np.diff(frames[:, 0].astype(int)))
        # Edges within an utterance are a whole number of bursts apart.
        assert (np.diff(edges) % 4 == 0).all()


def test_the_noise_depends_only_on_its_names():
    first = source().eps("utterance", "a", (30, 4))
    assert np.array_equal(source().eps("utterance", "a", (30, 4)), first)
    assert not np.array_equal(source().eps("another", "a", (30, 4)), first)
    assert source().eps("short", "a", (1, 4)).shape == (1, 4)


def test_the_examples_levels_are_planned_and_its_file_affects_only_its_jobs():
    config = configuration()
    check_config(config)
    plan = Plan(config)
    kinds = ("gaussian", "bursts", "long_bursts")
    assert list(plan.corruptions) == [f"{kind}_{level}dB" for kind in kinds for level in (-10, -20)]
    jobs = {kind: SimpleNamespace(dataset="demo_mosei", corruption=f"{kind}_-10dB") for kind in kinds}
    assert [FILE in plan.corruption_settings(job) for job in jobs.values()] == [False, True, True]
    demo = Plan(configuration() | {"experiment": "demo"})
    assert plan.code("corrupt.py", jobs["gaussian"]) == demo.code("corrupt.py", jobs["gaussian"])
    assert plan.code("corrupt.py", jobs["gaussian"]) != plan.code("corrupt.py", jobs["bursts"])


@pytest.mark.parametrize(
    ("key", "value", "message"), [("share", 1.5, "share"), ("lenght", 3, "length")], ids=["value", "name"]
)
def test_a_wrong_option_of_the_example_is_refused(key, value, message):
    config = configuration()
    config["noise"]["kinds"]["bursts"][key] = value
    with pytest.raises(ConfigError, match=message):
        check_config(config)


# The page


def test_the_code_and_lines_of_the_page_match_the_example():
    shipped = (REPOSITORY / FILE).read_text()
    assert all(code in shipped for code in blocks("python")[:2])
    (lines,) = map(yaml.safe_load, blocks("yaml"))
    overlay = yaml.safe_load((REPOSITORY / OVERLAY).read_text())
    assert lines["noise"] == overlay["noise"]
    assert lines["experiments"]["own_noise"].items() <= overlay["experiments"]["own_noise"].items()


def test_the_replacing_kind_of_the_page_returns_its_first_frame(tmp_path):
    file = tmp_path / "frozen.py"
    head = "import numpy as np\n\nfrom nmer.noise.registry import noise_kind\n\n\n"
    file.write_text(head + blocks("python")[2])
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(source(str(file), "frozen").corrupt(values, "u", "v"), np.tile(values[0], (4, 1)))


def test_the_noise_of_a_custom_array_on_the_page_is_written(tmp_path):
    np.save(tmp_path / "audio.npy", np.random.default_rng(0).standard_normal((6, 30, 4)).astype(np.float32))
    program, *words = shlex.split(blocks("sh")[0].replace("\\\n", " "))
    words = [str(tmp_path / word) if word.endswith(".npy") else word for word in words]
    assert program == "python"
    subprocess.run([sys.executable, *words], cwd=REPOSITORY, check=True, capture_output=True)
    noisy = np.load(tmp_path / "noisy.npy")
    assert noisy.shape == (6, 30, 4)
    assert np.isfinite(noisy).all()
