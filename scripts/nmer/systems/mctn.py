"""MCTN: joint representations learnt by translating modalities into each other and back (SPEC 4.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.errors import ConfigError
from nmer.names import modality_set
from nmer.options import Count, Weight
from nmer.systems.blocks.branches import compute_branches, hold
from nmer.systems.blocks.decoders import AttentionDecoder, OutputLayer
from nmer.systems.blocks.encoders import HIDDEN, joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.translation import (
    CyclicTranslator,
    SequenceEncoder,
    Summary,
    encode_sources,
    pooled,
    summarise,
    translate,
)
from nmer.systems.interface import Batch, Sequences, System, summed
from nmer.systems.registry import system


def ring(modalities: Iterable[str]) -> dict[str, str]:
    """Return source -> target of each translator, in the order in which their summaries are concatenated.

    modalities: at least two. Three give a -> v, v -> l, l -> a, every pair once; two give their pair in both directions
    (SPEC 4.6, 13).
    """
    sources = modality_set(modalities)
    return dict(zip(sources, (*sources[1:], sources[0]), strict=True))


class Mctn(System):
    """Base of both forms: the loss, against targets that evaluation never needs.

    Outputs ``translation_m`` and ``cycle_m`` are modality m decoded from another modality and from its own translation,
    (batch, steps, dim), in units of its standard deviation.
    """

    translated: tuple[str, ...]
    """The modalities that are the target of a translation."""

    cycled: tuple[str, ...]
    """The modalities that are decoded a second time, from their own translation."""

    targets: Literal["clean", "observed"] = "clean"
    steps: Count = 20
    translation_weight: Weight = 0.1
    cycle_weight: Weight = 0.1

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, and the sums of the translations' and of the cycles' mean squared errors."""
        targets = {modality: self._target(modality, batch) for modality in modality_set(self.dims)}

        def error(kind: str, modalities: tuple[str, ...]) -> Tensor:
            return summed(functional.mse_loss(outputs[f"{kind}_{m}"], targets[m]) for m in modalities)

        return super().loss_terms(outputs, batch) | {
            "translation": error("translation", self.translated),
            "cycle": error("cycle", self.cycled),
        }

    def _target(self, modality: str, batch: Batch) -> Tensor:
        sequences = batch.clean(modality) if self.targets == "clean" else batch.observed[modality]
        return pooled(sequences, self.steps) / batch.deviations[modality]


class Ring(Mctn):
    """Translators on a ring: each modality is the source of one and the target of another (``mctn_ring``)."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.translated = self.cycled = self.modalities
        self.ring = ring(dims)
        self.translators = nn.ModuleDict(
            {source: RingTranslator(dims[source], dims[target]) for source, target in self.ring.items()}
        )
        self.classifier = classifier_head(joint_width(dims), (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """z of the translator whose source the modality is: (batch, 128)."""
        translator = self._translators()[modality]
        summary: Tensor = translator.summary(translator.encode(sequences))
        return summary

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of the concatenated summaries, [z_av; z_vl; z_la] for three modalities."""
        return {"logits": self.classifier(torch.cat([encodings[source] for source in self.ring], dim=1))}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits, and every modality decoded as a target and as a source."""
        translators = self._translators()
        parts = list(translators.values())
        joints = encode_sources(parts, [batch.observed[source] for source in translators])
        hold(*joints)
        branches: dict[str, Callable[[], Sequence[Any]]] = {
            "decoded": lambda: translate(parts, joints, self.steps),
            "summaries": lambda: summarise([part.summary for part in parts], joints),
        }
        decoded, summaries = compute_branches(branches).values()
        outputs = self.fuse(dict(zip(translators, summaries, strict=True)))
        for (source, target), translation, cycle in zip(self.ring.items(), *decoded, strict=True):
            outputs |= {f"translation_{target}": translation, f"cycle_{source}": cycle}
        return outputs

    def _translators(self) -> dict[str, RingTranslator]:
        return {source: cast(RingTranslator, part) for source, part in self.translators.items()}


class RingTranslator(CyclicTranslator):
    """A translator with a summary of its joint sequence, clipped as one sub-network."""

    def __init__(self, source_dim: int, target_dim: int) -> None:
        super().__init__(source_dim, target_dim)
        self.summary = Summary()


class Hierarchy(Mctn):
    """The official topology: text to vision and back, then their joint sequence to audio (``mctn_hier``).

    It reads only the text; audio and vision are ignored at test. By design it cannot serve conditions in which the text
    is noisy (SPEC 4.6).
    """

    modalities = ("l",)
    translated = ("v", "a")
    cycled = ("l",)

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        """Raises ConfigError for observed targets, which it does not read."""
        super().__init__(dims, classes, dropout, **options)
        if self.targets == "observed":
            raise ConfigError(
                "systems.mctn.targets: 'observed' does not fit form 'hier', which reads the text only. "
                "Set targets to 'clean' or form to 'ring'."
            )
        self.text_to_vision = CyclicTranslator(dims["l"], dims["v"])
        self.joint_to_audio = SecondLevel(dims["a"])
        self.classifier = classifier_head(HIDDEN, (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """z of the second level's joint sequence: (batch, 128)."""
        second = self.joint_to_audio.encoder(self.text_to_vision.encode(sequences))
        summary: Tensor = self.joint_to_audio.summary(second)
        return summary

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of z."""
        return {"logits": self.classifier(encodings["l"])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits, and vision, text and audio decoded."""
        first = self.text_to_vision.encode(batch.observed["l"])
        second = self.joint_to_audio.encoder(first)
        outputs = self.fuse({"l": self.joint_to_audio.summary(second)})
        (translation,), (cycle,) = translate([self.text_to_vision], [first], self.steps)
        audio = self.joint_to_audio.decoder(second, self.joint_to_audio.output, self.steps)
        return outputs | {"translation_v": translation, "cycle_l": cycle, "translation_a": audio}


class SecondLevel(nn.Module):
    """Reads a joint sequence, decodes one more modality from it, without a cycle, and summarises it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.encoder = SequenceEncoder()
        self.decoder = AttentionDecoder()
        self.output = OutputLayer(dim)
        self.summary = Summary()


FORMS = {"ring": Ring, "hier": Hierarchy}


@system(
    "mctn",
    pretraining="none",
    regimes=("incomplete", "all_noisy"),
    fewest_modalities=2,
    modalities={"form": {"ring": (), "hier": ("a", "v", "l")}},
)
def mctn(
    dims: dict[str, int], classes: int, dropout: float, *, form: Literal["ring", "hier"] = "ring", **options: Any
) -> Mctn:
    """MCTN in one of its forms. options: as :class:`Mctn`."""
    return FORMS[form](dims, classes, dropout, **options)
