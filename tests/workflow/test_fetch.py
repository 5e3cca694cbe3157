"""`snakemake fetch_<dataset>` from a local server: resuming, checks, messages and refused configurations."""

from __future__ import annotations

import hashlib
import io
import random
import re
import shlex
import zipfile
from pathlib import Path

import pytest
import yaml
from shipped import shipped_config
from workflow_copy import REPOSITORY, Workflow

from nmer.errors import ConfigError, DataError
from nmer.plan.config import check_config
from nmer.plan.plan import Plan

PAGE = REPOSITORY / "docs" / "fetching.md"
CONTENT = random.Random(0).randbytes(300_000)
CUT = 2**17


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def shipped() -> dict:
    return shipped_config()


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Workflow:
    return Workflow(tmp_path_factory.mktemp("fetch") / "nmer")


@pytest.fixture
def fetch(workflow, tmp_path):
    """Run `snakemake fetch_mosi` with a list of addresses; returns the process and the folder of corpora."""

    def call(*entries: dict):
        lists = tmp_path / "addresses.yaml"
        lists.write_text(yaml.safe_dump({"datasets": {"mosi": {"download": list(entries)}}}))
        data = tmp_path / "my corpora"
        arguments = ("fetch_mosi", "--configfile", str(lists))
        finished = workflow.snakemake(*arguments, experiment="demo", data=str(data))
        return finished.returncode, finished.stdout + finished.stderr, data

    return call


def log(workflow: Workflow) -> str:
    return (workflow.folder / "results" / "logs" / "fetch" / "mosi.log").read_text()


def test_a_corpus_is_fetched_despite_an_interruption_unpacked_and_not_fetched_again(fetch, server, workflow):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("mosi_senti_data.pkl", CONTENT)
    server.content, server.headers, server.cuts = archive.getvalue(), {"ETag": '"one"'}, [CUT]
    entry = {"url": f"{server.root}/a/mosi.zip", "file": "cmu_mosi/mosi.zip", "unpack": True}
    entry["sha256"] = digest(server.content)
    status, output, data = fetch(entry)
    assert status == 0, output
    assert server.ranges == [None, f"bytes={CUT}-"]
    assert "mosi.zip: the connection was interrupted (128.0 KiB of 293.1 KiB fetched). Trying again in 1 s." in output
    done = (
        f"{data}/cmu_mosi/mosi.zip: fetched, 293.1 KiB, SHA-256 {entry['sha256']}; 1 files unpacked, 0 there already."
    )
    assert done in output
    assert done in log(workflow)
    assert sorted(path.name for path in (data / "cmu_mosi").iterdir()) == ["mosi.zip", "mosi_senti_data.pkl"]
    assert (data / "cmu_mosi" / "mosi_senti_data.pkl").read_bytes() == CONTENT
    status, output, _data = fetch(entry)
    assert status == 0, output
    assert "mosi.zip: kept" in output
    assert len(server.requests) == 2


def test_a_wrong_digest_stops_with_one_clear_line_and_leaves_no_file(fetch, server, workflow):
    server.content = CONTENT
    status, output, data = fetch({"url": server.url, "sha256": digest(b"something else")})
    assert status != 0
    lines = set(re.findall(r"^error: .*$", output, re.MULTILINE))
    assert len(lines) == 1
    line = lines.pop()
    assert line.startswith(f"error: {server.url}: the file has the SHA-256 {digest(CONTENT)}, not")
    assert log(workflow).splitlines() == [line]
    assert "Traceback" not in output
    assert [path for path in data.rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.ci
def test_a_failed_call_keeps_its_partial_file_for_the_next_one(fetch, server):
    server.content, server.headers = CONTENT, {"ETag": '"one"'}
    server.cuts, server.before = [CUT], lambda number: number == 1 and server.statuses.append(404)
    status, output, data = fetch({"url": server.url})
    assert status != 0
    assert "the server answers 404" in output
    assert (data / "corpus.pkl.part").stat().st_size == CUT
    status, output, data = fetch({"url": server.url})
    assert status == 0, output
    assert server.ranges[2:] == [f"bytes={CUT}-"]
    assert (
        f"warning: {data}/corpus.pkl was not checked. If it is right, add to its entry: sha256: {digest(CONTENT)}"
        in output
    )


# Configuration


def with_download(*entries: dict, dataset: str = "mosi", **keys: str) -> dict:
    config = shipped() | keys
    config["datasets"][dataset]["download"] = list(entries)
    return config


def test_a_file_outside_the_folder_is_refused_under_every_experiment():
    config = with_download({"url": "https://example.org/a", "file": "../a"})
    with pytest.raises(
        ConfigError, match=r"^datasets\.mosi\.download\.0\.file: '\.\./a' leads out of its folder\. Give"
    ):
        check_config(config)


@pytest.mark.parametrize(
    ("download", "message"),
    [
        (
            [{"url": "https://example.org/a", "sha": "x"}],
            r"datasets\.mosi\.download\.0: unknown key 'sha'\. Did you mean 'sha256'",
        ),
        ([{"file": "a"}], r"datasets\.mosi\.download\.0: missing key 'url'\. Add it\."),
        ([{"url": "https://example.org/a", "unpack": "yes"}], r"download\.0\.unpack: 'yes' is not of type boolean"),
        ([], r"datasets\.mosi\.download: \[\]"),
        ("https://example.org/a", r"datasets\.mosi\.download: 'https://example.org/a' is not of type array"),
    ],
)
def test_the_schema_knows_the_keys_of_an_entry(download, message):
    config = shipped()
    config["datasets"]["mosi"]["download"] = download
    with pytest.raises(ConfigError, match=message):
        check_config(config)


def test_a_synthetic_corpus_has_nothing_to_fetch():
    with pytest.raises(ConfigError, match=r"datasets\.tiny_mosei: 'download' only fetches files"):
        check_config(with_download({"url": "https://example.org/a"}, dataset="tiny_mosei"))


@pytest.mark.parametrize(("data", "override"), [("data", ""), ("/my corpora", " data='/my corpora'")])
def test_the_message_on_a_missing_corpus_shows_how_to_fetch_it(data, override, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        check_config(with_download({"url": "https://example.org/a"}, experiment="mosi", data=data))
    assert str(raised.value).endswith(f" Or fetch it: snakemake fetch_mosi --config experiment=demo{override}")
    with pytest.raises(DataError) as raised:
        check_config(shipped() | {"experiment": "mosi", "data": data})
    assert "fetch" not in str(raised.value)


def test_a_list_of_addresses_makes_no_other_job_due():
    without, listed = Plan(shipped()), Plan(with_download({"url": "https://example.org/a"}, experiment="tiny"))
    assert (without.downloads, listed.downloads) == ([], ["mosi"])
    job = type("Job", (), {"dataset": "mosi"})
    assert without.features_settings(job) == listed.features_settings(job)


# Documentation


def test_the_pages_example_is_a_valid_configuration_and_its_commands_name_its_datasets():
    text = PAGE.read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    config = shipped()
    for name, section in yaml.safe_load(block)["datasets"].items():
        config["datasets"][name] = config["datasets"].get(name, {}) | section
    plan = Plan(config)
    commands = [shlex.split(line) for line in re.findall(r"^snakemake .*$", text, re.MULTILINE)]
    assert commands
    assert {command[1] for command in commands} <= {f"fetch_{name}" for name in plan.downloads}


def test_the_shipped_configuration_fetches_nothing():
    assert Plan(shipped()).downloads == []
    assert "example.org" in Path(PAGE).read_text()
