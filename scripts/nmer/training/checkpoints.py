"""Checkpoints of a training: state of the learner, best weights and history, in one file."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any, Protocol

import torch

from nmer.files import atomic_path


class Resumable(Protocol):
    """An object whose state a checkpoint stores."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: tensors, numbers and text in dictionaries and lists."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Continue from a state."""


def save_checkpoint(path: Path, progress: dict[str, Any], learner: Resumable | None = None) -> None:
    """Write a checkpoint.

    progress: best weights and histories. learner: omitted after the last epoch, because the state of the optimiser
    alone is twice the size of the system.
    """
    state = progress | ({"learner": learner.state_dict()} if learner is not None else {})
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch's message about its archive hides the error of the disk.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def load_checkpoint(path: Path, device: torch.device, learner: Resumable) -> dict[str, Any] | None:
    """Restore the learner and return the saved progress, or None if there is no undamaged checkpoint."""
    if not is_undamaged(path):
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if "learner" in state:
        learner.load_state_dict(state.pop("learner"))
    return state


def is_undamaged(path: Path) -> bool:
    """Return whether a checkpoint exists and its checksums match; warn about a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except FileNotFoundError:
        return False
    except zipfile.BadZipFile:
        damaged = True
    if damaged:
        print(f"warning: {path}: is damaged and is not used. Training starts from the first epoch.", file=sys.stderr)
    return not damaged
