"""The visual modality alone (Table 4; SPEC 4.7)."""

from __future__ import annotations

from nmer.systems.blocks.unimodal import Unimodal
from nmer.systems.registry import system


@system("unimodal_v", pretraining="none", regimes=("clean", "all_noisy"), modalities=("v",))
class UnimodalVisual(Unimodal):
    """Encoder and classifier of the visual features."""

    modalities = ("v",)
