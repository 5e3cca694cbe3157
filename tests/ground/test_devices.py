"""A job computes on the CPU unless it is granted a GPU that exists, and then on one of its own."""

from __future__ import annotations

import threading

import pytest
import torch

from nmer import devices


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch):
    """Pretends that the machine has some GPUs; nothing is computed on them."""

    def pretend(count: int, slots: int | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_given, **_named: None)
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if slots is None:
            monkeypatch.delenv(devices.SLOTS_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(devices.SLOTS_VARIABLE, str(slots))

    return pretend


@pytest.mark.parametrize(("granted", "existing"), [(0, 2), (1, 0), (0, 0)])
def test_without_a_granted_or_an_existing_gpu_a_job_computes_on_the_cpu(machine, tmp_path, granted, existing):
    machine(existing)
    with devices.compute_device(granted, 1, tmp_path / "slots") as device:
        assert device == torch.device("cpu")
    assert not (tmp_path / "slots").exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_job_computes_with_the_threads_it_is_given(tmp_path, threads):
    with devices.compute_device(0, threads, tmp_path):
        assert torch.get_num_threads() == threads


def test_concurrent_jobs_take_distinct_gpus_and_give_them_back(machine, tmp_path):
    machine(2)
    with devices.compute_device(1, 1, tmp_path) as first:
        with devices.compute_device(1, 1, tmp_path) as second:
            assert {first, second} == {torch.device("cuda", 0), torch.device("cuda", 1)}
        with devices.compute_device(1, 1, tmp_path) as third:
            assert third == second


def test_more_slots_than_gpus_share_them(machine, tmp_path):
    machine(2, slots=4)
    with (
        devices.compute_device(1, 1, tmp_path) as a,
        devices.compute_device(1, 1, tmp_path) as b,
        devices.compute_device(1, 1, tmp_path) as c,
        devices.compute_device(1, 1, tmp_path) as d,
    ):
        assert sorted(device.index for device in (a, b, c, d)) == [0, 0, 1, 1]


def test_a_job_waits_for_a_free_slot(machine, tmp_path):
    machine(1)
    begun = threading.Event()

    def job():
        with devices.compute_device(1, 1, tmp_path):
            begun.set()

    waiting = threading.Thread(target=job, daemon=True)
    with devices.compute_device(1, 1, tmp_path):
        waiting.start()
        assert not begun.wait(0.5)
    assert begun.wait(10)
    waiting.join(10)


def test_a_failed_job_gives_its_gpu_back(machine, tmp_path):
    machine(1)
    with pytest.raises(ValueError), devices.compute_device(1, 1, tmp_path):
        raise ValueError
    with devices.compute_device(1, 1, tmp_path) as device:
        assert device == torch.device("cuda", 0)
