"""Settings of a training or evaluation job, with their defaults (SPEC 3.3). No torch: the plan reads them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, replace
from typing import Any, ClassVar, Self

from nmer.command import fill
from nmer.errors import ConfigError, nearest
from nmer.names import CLEAN, EVERY_CONDITION, MIXED, REGIMES

LOSS = "loss"
"""Value of ``selection``: the epoch with the lowest validation loss instead of the best score."""

FLOAT32, TF32, BFLOAT16 = "float32", "tf32", "bfloat16"


@dataclass(frozen=True)
class TrainingSettings:
    """Optimisation of one training. Epochs are ``constant_epochs`` + ``decay_epochs`` (SPEC's N0 and N1).

    precision: of a system's arithmetic in training; validation and test are in single precision. repeats_together:
    whether a job's repeats are trained stacked, which is faster on a GPU and changes a step only by rounding;
    training amplifies that, fastest in MMIN (docs/performance.md: where rounding grows). graphs: whether a stacked step
    is captured in CUDA graphs, which changes nothing but the time. selection: what selects the epoch on the validation
    split, a metric or LOSS. patience: epochs without a better one after which a training ends; 0 trains all epochs.
    score_loss: of a score target, ``L1`` or ``MSE``.
    """

    learning_rate: float = 2e-4
    weight_decay: float = 1e-5
    batch_size: int = 128
    constant_epochs: int = 30
    decay_epochs: int = 30
    clip_norm: float = 1.0
    dropout: float = 0.5
    precision: str = FLOAT32
    repeats_together: str = "where_faster"
    graphs: str = "where_faster"
    selection: str = "UA"
    patience: int = 0
    score_loss: str = "L1"

    @property
    def epochs(self) -> int:
        """Return the number of epochs."""
        return self.constant_epochs + self.decay_epochs

    def learning_rate_factor(self, epoch: int) -> float:
        """Return the factor of the learning rate in epoch 0, 1, ...: constant, then linear decay (SPEC 3.3)."""
        return 1 - max(0, epoch + 1 - self.constant_epochs) / (self.decay_epochs + 1)


PRETRAINING = replace(TrainingSettings(), constant_epochs=20, decay_epochs=20, clip_norm=0.5)
"""Stage A trains fewer epochs and clips at a lower norm than the systems (SPEC 4.3)."""


def merged_training(general: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two sections ``training`` by key, the second over the first, including those of ``pretraining``."""
    stages = {**general.get("pretraining", {}), **special.get("pretraining", {})}
    return {**general, **special, **({"pretraining": stages} if stages else {})}


def training_settings(section: Mapping[str, Any], pretraining: bool = False) -> TrainingSettings:
    """Return the settings of a section ``training`` for systems, or with ``pretraining`` for stage-A pretrainings."""
    own = {key: value for key, value in section.items() if key not in ("pretraining", "keep_models")}
    settings = replace(TrainingSettings(), **own)
    if not pretraining:
        return settings
    shorter = {
        key: value for key, value in non_default_training(PRETRAINING, TrainingSettings()).items() if key not in own
    }
    return replace(settings, **(shorter | section.get("pretraining", {})))


class _JobSettings:
    """Base of the settings of trainings and evaluations: reading, and the check of the regime."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    regime: str

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Self:
        """Read settings from a step's JSON. Raises ConfigError for an unknown key."""
        return fill(cls, mapping)

    def __post_init__(self) -> None:
        """Raises ConfigError for an unknown regime."""
        if self.regime not in REGIMES:
            raise ConfigError(f"settings.regime: unknown regime '{self.regime}'. {nearest(self.regime, REGIMES)}")


@dataclass(frozen=True)
class RunSettings(_JobSettings):
    """One training job: a system on one fold of a dataset, in one regime, all its repeats.

    teacher: ``options`` and ``file`` of the pretrained system, where they are not its defaults. scope: of the variances
    that calibrate the noise. train_draws: how many noisy copies there are to train on, or ``fresh`` (SPEC 2.7).
    trained_at: None for the level of ``noise``; ``mixed`` for the noisy embeddings that ``mixed`` names, one drawn per
    utterance and epoch; ``clean`` for none (SPEC 15).
    """

    dataset: str
    system: str
    regime: str
    fold: int
    repeats: int
    noise: str | None = None
    snr_db: float | None = None
    evaluation: str = EVERY_CONDITION
    file: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    scope: str = "stored"
    train_draws: int | str = 1
    trained_at: str | None = None
    mixed: list[str] = field(default_factory=list)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Self:
        """Read settings from a step's JSON. Raises ConfigError for an unknown key."""
        training = fill(TrainingSettings, mapping.get("training", {}), "settings.training")
        return super().from_mapping(mapping | {"training": training})

    @property
    def levels(self) -> int:
        """Return the number of noise levels of the noisy copies: 0 if they are left clean."""
        return {None: 1, CLEAN: 0, MIXED: len(self.mixed)}[self.trained_at]


@dataclass(frozen=True)
class EvaluationSettings(_JobSettings):
    """One evaluation job: a trained system on its test splits, at one noise kind and level.

    conditions: the incomplete conditions to score; empty for all.
    name: of a variant, under which its scores are written; None = that of the system. trained_at: the
    training level of a system that is tested at other levels too: the name of a level, ``mixed`` or ``clean``.
    """

    dataset: str
    system: str
    regime: str
    folds: list[int]
    repeats: int
    noise: str | None = None
    snr_db: float | None = None
    evaluation: str = EVERY_CONDITION
    conditions: list[str] = field(default_factory=list)
    file: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    trained_at: str | None = None


def non_default_training(settings: TrainingSettings, default: TrainingSettings) -> dict[str, Any]:
    """Return the keys in which settings differ from the default, for the params of rules."""
    reference = asdict(default)
    return {key: value for key, value in asdict(settings).items() if value != reference[key]}
