"""The acoustic modality alone (Table 4; SPEC 4.7)."""

from __future__ import annotations

from nmer.systems.blocks.unimodal import Unimodal
from nmer.systems.registry import system


@system("unimodal_a", pretraining="none", regimes=("clean", "all_noisy"), modalities=("a",))
class UnimodalAcoustic(Unimodal):
    """Encoder and classifier of the acoustic features."""

    modalities = ("a",)
