"""Model files: the weights of all repeats of a job in one safetensors file, with keys ``repeat{r}.{parameter}``.

A model file also contains what prediction needs: the training settings, the widths and class names of the corpus, and
the statistics of the training split as ``normalisation.{modality}.mean`` and ``.std``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from nmer.digests import write_digest
from nmer.errors import DataError
from nmer.files import atomic_path
from nmer.systems.building import build_to_restore
from nmer.systems.interface import System
from nmer.training.library_versions import library_versions


def save_models(
    path: Path,
    states: dict[int, dict[str, Tensor]],
    description: dict[str, Any],
    normalisation: Mapping[str, tuple[np.ndarray, np.ndarray] | None] | None = None,
) -> None:
    """Write the weights of all repeats, with a description and the library versions, and the digest of the file.

    normalisation: per modality the mean and standard deviation, each (dim,), used to normalise its features.
    """
    tensors = on_cpu({f"repeat{r}.{key}": value for r, state in states.items() for key, value in state.items()})
    for modality, pair in (normalisation or {}).items():
        if pair is not None:
            names = (f"normalisation.{modality}.{name}" for name in ("mean", "std"))
            tensors |= {name: torch.from_numpy(part) for name, part in zip(names, pair, strict=True)}
    # One metadata key, because safetensors writes several keys in random order.
    metadata = {"nmer": json.dumps(description | {"versions": library_versions()}, sort_keys=True)}
    with atomic_path(path) as temporary:
        _write(temporary, tensors, metadata)
    write_digest(path)


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors on the CPU. Those of one type are copied from a GPU together, because each copy
    synchronises."""
    copied = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor.device.type == "cpu"}
    for dtype in {tensor.dtype for name, tensor in tensors.items() if name not in copied}:
        group = {name: tensor for name, tensor in tensors.items() if name not in copied and tensor.dtype == dtype}
        parts = torch.cat([tensor.flatten() for tensor in group.values()]).cpu()
        sizes = [tensor.numel() for tensor in group.values()]
        for (name, tensor), part in zip(group.items(), parts.split(sizes), strict=True):
            copied[name] = part.view(tensor.shape)
    return copied


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file to a temporary path of :func:`atomic_path`.

    ``save_file`` copies nothing, but it creates another temporary file, which only its owner may read and which remains
    if the process is killed. It is created in a folder that later runs remove.
    """
    path.mkdir()
    mode = path.stat().st_mode & 0o666
    try:
        save_file(tensors, path / path.name, metadata)
    except SafetensorError:
        shutil.rmtree(path)
        # Written by Python, whose errors describe problems of the disk.
        path.write_bytes(save(tensors, metadata))
        return
    written = (path / path.name).replace(path.with_suffix(".old"))
    written.chmod(mode)
    path.rmdir()
    written.replace(path)


def build_restored(path: Path, repeat: int, *given: Any, **named: Any) -> System:
    """Build a system with the weights of one repeat. Other arguments as in :func:`build_system`.

    Raises DataError as :func:`restore` does, ConfigError as :func:`build_system` does.
    """
    state = load_model(path, repeat)
    system = build_to_restore(state, *given, **named)
    _load(system, state, path)
    return system


def restore(system: nn.Module, path: Path, repeat: int) -> None:
    """Load the weights of one repeat into a system. Raises DataError if the file is damaged or of another system."""
    _load(system, load_model(path, repeat), path)


def _load(system: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    try:
        system.load_state_dict(state)
    except RuntimeError:
        raise DataError(f"{path}: contains weights of another system or size. Delete it and run again.") from None


def load_settings(path: Path) -> dict[str, Any]:
    """Read the training settings of a model; empty if the file has none. Raises DataError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            description: dict[str, Any] = json.loads((file.metadata() or {}).get("nmer", "{}"))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None
    return description


def load_model(path: Path, repeat: int) -> dict[str, Tensor]:
    """Read the weights of one repeat. Raises DataError if the file is damaged or lacks the repeat."""
    prefix = f"repeat{repeat}."
    try:
        with safe_open(path, framework="pt") as file:
            state = {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None
    if not state:
        raise DataError(f"{path}: has no repeat {repeat}. Delete it and run again.")
    return state


def load_normalisation(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read modality -> mean and standard deviation, each (dim,). Modalities that are not normalised are absent.

    Raises DataError if the file is damaged.
    """
    normalisation: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            for key in sorted(key for key in keys if key.startswith("normalisation.") and key.endswith(".mean")):
                mean, std = (file.get_tensor(f"{key.removesuffix('.mean')}.{name}").numpy() for name in ("mean", "std"))
                normalisation[key.split(".")[1]] = (mean, std)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None
    return normalisation


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as a model ({error}). Delete it and run again.")
