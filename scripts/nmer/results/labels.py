"""Printed names of modalities, systems and noise kinds. An edit here remakes what prints them and nothing else."""

from __future__ import annotations

from nmer.names import UNIMODAL_SYSTEMS

MODALITY_LABELS = {"a": "acoustic", "v": "visual", "l": "lexical"}

SYSTEM_LABELS = {
    "men": "MEN",
    "mctn": "MCTN",
    "mmin": "MMIN",
    "if_mmin": "IF-MMIN",
    "nmer": "NMER",
    "nmer_no_vae": "w/o VAE",
    "nmer_no_inv": "w/o L_inv",
}

REFERENCE_LABELS = {
    "majority": "majority class (reference)",
    "logistic_regression": "logistic regression (reference)",
}

NOISE_LABELS = {"gaussian": "Gaussian", "impulse": "Impulse"}


def system_label(system: str) -> str:
    """Printed name of a system; a user-defined system is printed under its own name."""
    if system in UNIMODAL_SYSTEMS:
        return f"{MODALITY_LABELS[UNIMODAL_SYSTEMS[system]]} only"
    return SYSTEM_LABELS.get(system) or REFERENCE_LABELS.get(system, system)


def noise_label(noise: str) -> str:
    """Printed name of a noise kind; a user-defined kind is printed under its own name."""
    return NOISE_LABELS.get(noise, noise)
