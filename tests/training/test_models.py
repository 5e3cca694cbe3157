"""Model files contain every repeat, are equal for equal weights, and are refused if damaged."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from nmer.errors import DataError
from nmer.training import models
from nmer.training.models import load_model, on_cpu, save_models


def states() -> dict[int, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return {
        repeat: {
            "layer.weight": torch.randn(3, 4, generator=generator),
            "layer.bias": torch.randn(3, generator=generator),
            "count": torch.tensor(repeat),
        }
        for repeat in (1, 2, 11)
    }


def names_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fold1" / "model.safetensors"
    save_models(path, states(), {"system": "nmer", "fold": 1})
    return path


@pytest.mark.parametrize("repeat", [1, 2, 11])
def test_weights_of_a_repeat_are_restored_bit_for_bit(file, repeat):
    found, expected = load_model(file, repeat), states()[repeat]
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items())


def test_a_transposed_parameter_is_saved(tmp_path):
    given = torch.randn(3, 4).T
    save_models(tmp_path / "saved", {1: {"weight": given}}, {})
    assert torch.equal(load_model(tmp_path / "saved", 1)["weight"], given)


def test_the_file_records_settings_and_versions(file):
    with safe_open(file, framework="pt") as opened:
        described = json.loads(opened.metadata()["nmer"])
    assert (described["system"], described["fold"]) == ("nmer", 1)
    assert described["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_equal_weights_make_equal_files(file, tmp_path):
    again = tmp_path / "again.safetensors"
    save_models(again, states(), {"fold": 1, "system": "nmer"})
    assert again.read_bytes() == file.read_bytes()


def test_the_file_has_the_bytes_of_the_library_and_the_permissions_of_other_files(file):
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = {f"repeat{repeat}.{name}": value for repeat, state in states().items() for name, value in state.items()}
    assert file.read_bytes() == save(tensors, metadata)
    (plain := file.with_name("plain")).touch()
    assert file.stat().st_mode == plain.stat().st_mode
    assert names_in(file.parent) == ["model.safetensors", "model.safetensors.sha256", "plain"]


def test_a_problem_of_the_disk_is_reported_by_python_and_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_given) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(models, "save_file", fail)
    save_models(tmp_path / "saved", states(), {})
    assert set(load_model(tmp_path / "saved", 1)) == set(states()[1])
    assert names_in(tmp_path) == ["saved", "saved.sha256"]


class OnDevice(torch.Tensor):
    """A tensor that claims to be on another device and counts copies to the CPU."""

    copies = 0

    @classmethod
    def __torch_function__(cls, function, types, given=(), named=None):
        if function == torch.Tensor.device.__get__:
            return torch.device("cuda")
        if function is torch.Tensor.cpu:
            cls.copies += 1
            return given[0].as_subclass(torch.Tensor)
        return super().__torch_function__(function, types, given, named or {})


def test_weights_are_copied_from_a_gpu_once_per_type():
    given = {f"{repeat}.{name}": value for repeat, state in states().items() for name, value in state.items()}
    found = on_cpu({name: value.as_subclass(OnDevice) for name, value in given.items()})
    assert OnDevice.copies == 2
    assert found.keys() == given.keys()
    for name, value in given.items():
        assert type(found[name]) is torch.Tensor
        assert torch.equal(found[name], value)
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the program sha256sum (GNU coreutils)")
def test_a_digest_is_written_next_to_the_file(file):
    check = ["sha256sum", "--check", "--strict", "model.safetensors.sha256"]
    assert subprocess.run(check, cwd=file.parent, capture_output=True).returncode == 0


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text"])
def test_a_damaged_file_is_refused_by_name(file, damage):
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"x" * 200}[damage])
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_model(file, 1)


def test_a_missing_repeat_is_refused_by_number(file):
    with pytest.raises(DataError, match="no repeat 3"):
        load_model(file, 3)
