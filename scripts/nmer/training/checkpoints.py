"""Checkpoints of a training: the learner's state, the best weights and the history so far, in one file."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any, Protocol

import torch

from nmer.files import atomic_path


class Resumable(Protocol):
    """What a checkpoint holds the state of."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: tensors, numbers and text in dictionaries and lists."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Continue from a state."""


def save_checkpoint(path: Path, progress: dict[str, Any], learner: Resumable | None = None) -> None:
    """Write a checkpoint. progress: best weights and histories. learner: left out once the training is finished,
    since the optimiser's state alone is twice the size of the system."""
    state = progress | ({"learner": learner.state_dict()} if learner is not None else {})
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch's message about its archive hides the disk's own error.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def load_checkpoint(path: Path, device: torch.device, learner: Resumable) -> dict[str, Any] | None:
    """Restore the learner and return the progress saved with it, or None if there is no undamaged checkpoint."""
    if not is_whole(path):
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if "learner" in state:
        learner.load_state_dict(state.pop("learner"))
    return state


def is_whole(path: Path) -> bool:
    """Whether a checkpoint exists and its checksums are right; warns about a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except FileNotFoundError:
        return False
    except zipfile.BadZipFile:
        damaged = True
    if damaged:
        print(f"warning: {path}: is damaged and is not used. The training starts from its beginning.", file=sys.stderr)
    return not damaged
