"""Printed names of modalities, systems and noise kinds. An edit here remakes only the outputs that print them."""

from __future__ import annotations

from collections.abc import Mapping

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
    "emt_dlfr": "EMT-DLFR",
    "momke": "MoMKE",
    "lnln": "LNLN",
    "cif_mmin": "CIF-MMIN",
}

REFERENCE_LABELS = {
    "majority": "majority class (reference)",
    "logistic_regression": "logistic regression (reference)",
    "median": "training median (reference)",
    "ridge": "ridge regression (reference)",
}

SYSTEM_DESCRIPTIONS = {
    "men": "encoders of all modalities and a classifier, trained on clean data; the paper's baseline",
    "mctn": "cyclic translation between modalities (multimodal cyclic translation network)",
    "mmin": "imagines missing modalities with a cascade of autoencoders (missing modality imagination network)",
    "if_mmin": "MMIN whose imagination also uses a feature shared by the modalities (invariant feature)",
    "nmer": "the paper's system: invariant feature, and a variational autoencoder that denoises the joint one",
    "nmer_no_vae": "NMER without the variational autoencoder",
    "nmer_no_inv": "NMER without the loss on the invariant feature",
    "emt_dlfr": "global tokens exchange information with frames of all modalities (efficient multimodal transformer)",
    "momke": "every modality passes through the experts of all modalities (mixture of modality knowledge experts)",
    "lnln": "language dominates; a proxy from the other modalities completes it (language-dominated network)",
    "cif_mmin": "IF-MMIN whose invariant feature is learned by contrastive learning between modalities",
    "majority": "always predicts the most frequent class of the training split; needs no features",
    "logistic_regression": "logistic regression on statistics of the same noisy features; learns no sequence",
    "median": "always predicts the median score of the training split; needs no features",
    "ridge": "ridge regression on statistics of the same noisy features; learns no sequence",
}

NOISE_LABELS = {
    "gaussian": "Gaussian",
    "impulse": "Impulse",
    "drop_frames": "drop frames",
    "drop_channels": "drop channels",
}

_TITLES: dict[str, str] = {}
_RATES: dict[str, tuple[str, float]] = {}


def rates_by_noise(rates: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[str, float]]:
    """Return the kind and the rate of every noise that is a rate of a kind. rates: as in ``ReportSettings``."""
    return {noise: (kind, rate) for kind, noises in rates.items() for noise, rate in noises.items()}


def use_labels(titles: Mapping[str, str], *rates: Mapping[str, Mapping[str, float]]) -> None:
    """Set the printed names of systems and rates. Replaces those set before.

    titles: system -> its title in the configuration. rates: of each experiment, noise kind -> the noises that are its
    rates, with the rates, as in ``ReportSettings``.
    """
    _TITLES.clear()
    _TITLES.update(titles)
    _RATES.clear()
    for of_experiment in rates:
        _RATES.update(rates_by_noise(of_experiment))


def system_label(system: str) -> str:
    """Return the printed name of a system: its title in the configuration (:func:`use_labels`), its label, or its
    name."""
    if system in _TITLES:
        return _TITLES[system]
    if system in UNIMODAL_SYSTEMS:
        return f"{MODALITY_LABELS[UNIMODAL_SYSTEMS[system]]} only"
    return SYSTEM_LABELS.get(system) or REFERENCE_LABELS.get(system, system)


def noise_label(noise: str) -> str:
    """Return the printed name of a noise kind, also of one of its rates; for a user-defined kind, its name."""
    kind, _rate = _RATES.get(noise, (noise, None))
    return NOISE_LABELS.get(kind, kind)


def rate_of(noise: str) -> float | None:
    """Return the rate of a noise that is a rate of a kind, such as ``drop_frames_0.3``; None for any other."""
    _kind, rate = _RATES.get(noise, (noise, None))
    return rate
