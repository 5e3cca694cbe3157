"""Settings of jobs have the paper's defaults, and unknown keys are refused."""

from __future__ import annotations

import pytest

from nmer.errors import ConfigError
from nmer.plan.settings import PRETRAINING, EvaluationSettings, RunSettings, TrainingSettings, non_default_training

RUN = {"dataset": "iemocap", "system": "nmer", "regime": "incomplete", "fold": 3, "repeats": 3}


def test_training_defaults_are_those_of_the_paper():
    settings = TrainingSettings()
    assert (settings.learning_rate, settings.weight_decay, settings.batch_size) == (2e-4, 1e-5, 128)
    assert (settings.epochs, settings.clip_norm, settings.dropout) == (60, 1.0, 0.5)


def test_stage_a_trains_20_plus_20_epochs_and_clips_at_one_half():
    assert (PRETRAINING.constant_epochs, PRETRAINING.decay_epochs, PRETRAINING.clip_norm) == (20, 20, 0.5)
    assert (PRETRAINING.epochs, PRETRAINING.learning_rate, PRETRAINING.batch_size) == (40, 2e-4, 128)


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1.0), (28, 1.0), (29, 1.0), (30, 0.9677), (58, 0.0645), (59, 0.0323)]
)
def test_the_learning_rate_has_its_golden_factors(epoch, factor):
    assert TrainingSettings().learning_rate_factor(epoch) == pytest.approx(factor, abs=5e-5)


def test_the_learning_rate_never_reaches_zero_within_a_training():
    for settings in (TrainingSettings(), PRETRAINING, TrainingSettings(constant_epochs=0, decay_epochs=3)):
        factors = [settings.learning_rate_factor(epoch) for epoch in range(settings.epochs)]
        assert factors == sorted(factors, reverse=True)
        assert factors[-1] == pytest.approx(1 / (settings.decay_epochs + 1))


def test_settings_are_read_with_their_training_section():
    settings = RunSettings.from_mapping(RUN | {"noise": "impulse", "snr_db": -20, "training": {"batch_size": 64}})
    assert (settings.noise, settings.snr_db, settings.fold) == ("impulse", -20, 3)
    assert settings.training == TrainingSettings(batch_size=64)
    assert RunSettings.from_mapping(RUN).training == TrainingSettings()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (RUN | {"repeat": 3}, "settings: unknown key 'repeat'. Did you mean 'repeats'?"),
        (
            RUN | {"training": {"learning_rat": 1}},
            "settings.training: unknown key 'learning_rat'. Did you mean 'learning_rate'?",
        ),
    ],
)
def test_the_message_on_an_unknown_key_suggests_the_nearest(mapping, message):
    with pytest.raises(ConfigError) as error:
        RunSettings.from_mapping(mapping)
    assert str(error.value) == message


def test_unknown_keys_of_an_evaluation_are_refused():
    keys = {"dataset": "iemocap", "system": "men", "regime": "clean", "folds": [1], "repeats": 1}
    assert EvaluationSettings.from_mapping(keys).folds == [1]
    with pytest.raises(ConfigError, match="'fold'"):
        EvaluationSettings.from_mapping(keys | {"fold": 1})


@pytest.mark.parametrize(("cls", "fold"), [(RunSettings, {"fold": 1}), (EvaluationSettings, {"folds": [1]})])
def test_a_missing_key_is_named(cls, fold):
    with pytest.raises(ConfigError, match="'system'"):
        cls.from_mapping({"dataset": "iemocap", "regime": "incomplete", "repeats": 3} | fold)


def test_only_non_default_values_are_kept():
    assert non_default_training(TrainingSettings(), TrainingSettings()) == {}
    assert non_default_training(TrainingSettings(batch_size=7), TrainingSettings()) == {"batch_size": 7}
    assert non_default_training(TrainingSettings(), PRETRAINING) == {
        "constant_epochs": 30,
        "decay_epochs": 30,
        "clip_norm": 1.0,
    }
