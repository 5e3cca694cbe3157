"""The optimiser equals torch's AdamW and does not import the compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from nmer.training.optimiser import AdamW

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def set_rate(optimiser, rate: float) -> None:
    if isinstance(optimiser, AdamW):
        optimiser.set_learning_rate(rate)
    else:
        optimiser.param_groups[0]["lr"] = rate


def trained(make_optimiser) -> tuple[dict, dict]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2))
    optimiser = make_optimiser(network.parameters())
    for step in range(6):
        set_rate(optimiser, 0.01 / (step + 1))
        optimiser.zero_grad(set_to_none=True)
        network(torch.randn(4, 5)).square().sum().backward()
        optimiser.step()
    return network.state_dict(), optimiser.state_dict()


def test_it_steps_exactly_like_torchs_adamw():
    ours, our_state = trained(lambda p: AdamW(p, 0.01, 0.1))
    theirs, their_state = trained(lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True))
    for name, value in theirs.items():
        assert torch.equal(ours[name], value)
    for number, state in their_state["state"].items():
        assert all(torch.equal(our_state["state"][number][name], value) for name, value in state.items())
    assert our_state["param_groups"][0]["lr"] == 0.01 / 6


def test_its_state_can_be_saved_and_restored():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = AdamW([parameter], 0.01, 0.1)
    parameter.square().sum().backward()
    optimiser.step()
    other = AdamW([torch.nn.Parameter(parameter.detach().clone())], 0.5, 0.5)
    other.load_state_dict(optimiser.state_dict())
    assert other.param_groups[0]["lr"] == 0.01
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])


def test_a_training_process_does_not_import_the_compiler():
    program = (
        "import sys, torch\n"
        "from nmer.training.optimiser import AdamW\n"
        "p = torch.nn.Parameter(torch.ones(3))\n"
        "o = AdamW([p], 0.1, 0.1)\n"
        "o.set_learning_rate(0.2)\n"
        "p.sum().backward(); torch.nn.utils.clip_grad_norm_([p], 1.0); o.step(); o.zero_grad()\n"
        "o.load_state_dict(o.state_dict())\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, check=True)
