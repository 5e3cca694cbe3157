"""The lexical modality alone (Table 4; SPEC 4.7)."""

from __future__ import annotations

from nmer.systems.blocks.unimodal import Unimodal
from nmer.systems.registry import system


@system("unimodal_l", pretraining="none", regimes=("clean", "all_noisy"), modalities=("l",))
class UnimodalLexical(Unimodal):
    """Encoder and classifier of the lexical features."""

    modalities = ("l",)
