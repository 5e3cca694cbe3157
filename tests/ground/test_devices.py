"""A job computes on the CPU unless it is granted an existing GPU, which it then locks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from nmer import devices

# Forked children have the same simulated GPUs and do not import torch again.
processes = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch):
    """Return a function that simulates GPUs on which nothing is computed."""
    requested: list[str] = []
    current = [0]

    @contextmanager
    def as_current(device):
        current.append(device)
        yield
        current.pop()

    def pretend(count: int, slots: int | None = None, visible: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "device", as_current)
        monkeypatch.setattr(torch, "set_deterministic_debug_mode", requested.append)
        monkeypatch.setattr(devices, "set_product_precision", requested.append)
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        for name, value in ((devices.SLOTS_VARIABLE, slots), ("CUDA_VISIBLE_DEVICES", visible)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(value))

    pretend.requested, pretend.current = requested, current
    return pretend


@pytest.fixture
def precisions():
    """Return a function that reads the precision of every backend; restore the settings afterwards."""
    backends = torch.backends
    places = {
        "all": backends,
        "products": backends.cuda.matmul,
        "cudnn": backends.cudnn,
        "convolutions": backends.cudnn.conv,
        "lstms": backends.cudnn.rnn,
    }
    before = {name: place.fp32_precision for name, place in places.items()}
    yield lambda: {name: place.fp32_precision for name, place in places.items()}
    for name, place in places.items():
        place.fp32_precision = before[name]


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_the_precision_of_products_reaches_every_backend_and_the_previous_one_is_returned(precisions, precision):
    devices.set_product_precision("ieee")
    assert devices.set_product_precision(precision) == "ieee"
    assert set(precisions().values()) == {precision}


def test_a_gpu_job_uses_full_precision_and_deterministic_algorithms(machine, tmp_path):
    machine(1)
    with devices.compute_device(1, 1, tmp_path / "locks") as device:
        assert device.type == "cuda"
    assert sorted(machine.requested) == ["ieee", "warn"]


@pytest.mark.parametrize(("granted", "existing"), [(0, 2), (1, 0), (0, 0)])
def test_without_a_granted_or_an_existing_gpu_a_job_computes_on_the_cpu(machine, tmp_path, granted, existing):
    machine(existing)
    with devices.compute_device(granted, 1, tmp_path / "locks") as device:
        assert device == torch.device("cpu")
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_job_uses_the_requested_number_of_threads(tmp_path, threads):
    with devices.compute_device(0, threads, tmp_path):
        assert torch.get_num_threads() == threads


def test_concurrent_jobs_take_distinct_gpus_and_release_them(machine, tmp_path):
    machine(2)
    with devices.compute_device(1, 1, tmp_path) as first:
        with devices.compute_device(1, 1, tmp_path) as second:
            assert {first, second} == {torch.device("cuda", 0), torch.device("cuda", 1)}
        with devices.compute_device(1, 1, tmp_path) as third:
            assert third == second


def test_the_gpu_of_a_job_is_the_current_device_of_its_kernels(machine, tmp_path):
    machine(2)
    with devices.compute_device(1, 1, tmp_path), devices.compute_device(1, 1, tmp_path) as device:
        assert machine.current[-1] == device.index
    assert machine.current == [0]


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


def test_a_failed_job_releases_its_gpu(machine, tmp_path):
    machine(1)
    with pytest.raises(ValueError), devices.compute_device(1, 1, tmp_path):
        raise ValueError
    with devices.compute_device(1, 1, tmp_path) as device:
        assert device == torch.device("cuda", 0)


def hold(locks: Path, reports, seconds: float) -> None:
    """Take a device, hold it for some seconds, and report its index and the times."""
    with devices.compute_device(1, 1, locks) as device:
        begun = time.monotonic()
        time.sleep(seconds)
        reports.put((device.index, begun, time.monotonic()))


def run_together(count: int, locks: Path, seconds: float) -> list[tuple[int, float, float]]:
    """Run jobs concurrently, each in a separate process, and return their reports."""
    reports = processes.Queue()
    jobs = [processes.Process(target=hold, args=(locks, reports, seconds)) for _ in range(count)]
    for job in jobs:
        job.start()
    found = [reports.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join(60)
        assert job.exitcode == 0
    return found


def test_twenty_concurrent_jobs_never_use_the_same_gpu_at_once(machine, tmp_path):
    machine(3, visible="4,5,6")
    reports = run_together(20, tmp_path, seconds=0.5)
    assert {device for device, _, _ in reports} == {0, 1, 2}
    for device in range(3):
        held = sorted((begun, ended) for used, begun, ended in reports if used == device)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(held))


def test_twenty_concurrent_jobs_in_twenty_slots_share_two_gpus_evenly(machine, tmp_path):
    machine(2, slots=20)
    reports = run_together(20, tmp_path, seconds=5)
    assert sorted(device for device, _, _ in reports) == [0] * 10 + [1] * 10
    # All held a slot at the same time.
    assert max(begun for _, begun, _ in reports) < min(ended for _, _, ended in reports)


def test_the_lock_of_a_killed_job_is_free_at_once(machine, tmp_path):
    machine(1)
    begun = processes.Event()

    def job() -> None:
        with devices.compute_device(1, 1, tmp_path):
            begun.set()
            time.sleep(600)

    killed = processes.Process(target=job)
    killed.start()
    assert begun.wait(60)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(60)
    # Its file still exists, as after a crash of the machine.
    assert list(tmp_path.iterdir())
    assert [device for device, _, _ in run_together(1, tmp_path, seconds=0)] == [0]


def test_jobs_that_see_different_gpus_do_not_wait_for_each_other(machine, tmp_path):
    machine(1, visible="2")
    with devices.compute_device(1, 1, tmp_path) as one:
        machine(1, visible=" 3")
        with devices.compute_device(1, 1, tmp_path) as other:
            assert one == other == torch.device("cuda", 0)


@pytest.mark.parametrize(("one", "other"), [("0,1", "1,2"), (None, "1,2")])
def test_a_gpu_visible_under_different_numbers_is_used_by_one_job(machine, tmp_path, one, other):
    machine(2, visible=one)
    with devices.compute_device(1, 1, tmp_path), devices.compute_device(1, 1, tmp_path):
        machine(2, visible=other)
        with devices.compute_device(1, 1, tmp_path) as device:
            assert device == torch.device("cuda", 1)


def test_with_fewer_slots_than_gpus_every_gpu_can_be_used(machine, tmp_path):
    # Another invocation may hold the first GPU.
    machine(2, slots=1)
    with devices.compute_device(1, 1, tmp_path) as one, devices.compute_device(1, 1, tmp_path) as other:
        assert {one.index, other.index} == {0, 1}


def test_a_gpu_assigned_by_a_scheduler_is_used_without_waiting(machine, tmp_path):
    machine(1, visible="0")
    devices.announce_slots(granted=None, scheduled=True)
    with devices.compute_device(1, 1, tmp_path) as one, devices.compute_device(1, 1, tmp_path) as other:
        assert one == other == torch.device("cuda", 0)


def test_jobs_of_a_scheduler_that_assigns_no_gpu_take_distinct_ones(machine, tmp_path):
    # GPUs granted on the submitting machine do not describe the machine that runs the job.
    machine(2, slots=40)
    devices.announce_slots(granted=40, scheduled=True)
    with devices.compute_device(1, 1, tmp_path) as one, devices.compute_device(1, 1, tmp_path) as other:
        assert one != other


def test_the_slots_of_an_invocation_are_the_gpus_that_it_is_granted(machine, tmp_path):
    machine(1)
    devices.announce_slots(granted=2, scheduled=False)
    with devices.compute_device(1, 1, tmp_path) as one, devices.compute_device(1, 1, tmp_path) as other:
        assert one == other == torch.device("cuda", 0)
