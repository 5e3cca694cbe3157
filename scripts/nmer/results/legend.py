"""The legend of the report: one line on each metric, the SNR, the modalities, the conditions and each system."""

from __future__ import annotations

from nmer.metrics import METRICS
from nmer.names import ALL_NOISY, MODALITIES, UNIMODAL_SYSTEMS, all_clean
from nmer.report_settings import ReportSettings
from nmer.results.labels import MODALITY_LABELS, SYSTEM_DESCRIPTIONS, system_label

METRIC_DESCRIPTIONS = {
    "WA": "the share of all utterances that are classified correctly",
    "UA": "the mean recall over classes",
    "F1": "the mean F1 score over classes",
    "WF1": "the mean F1 score over classes, weighted by their numbers of utterances",
    "MAE": "the mean absolute error of the predicted scores; lower is better",
    "Corr": "between predicted scores and labels; undefined if either is constant",
    "Acc-2-has0": "the share with the correct sign, where 0 counts as positive",
    "Acc-2-non0": "the share with the correct sign among the utterances whose label is not 0",
    "Acc-5": "the share that is correct after scores are clipped to -2..2 and rounded",
    "Acc-7": "the share that is correct after scores are clipped to -3..3 and rounded",
    "SIMS-MAE": "of scores clipped to -1..1; lower is better",
    "SIMS-Corr": "of scores clipped to -1..1; undefined if they are constant",
}


def legend(settings: ReportSettings) -> list[tuple[str, str]]:
    """Return rows (term, description) for all abbreviations on the page that this experiment uses."""
    rows = [(name, _metric(name)) for name in settings.metrics]
    if any(settings.snr_db.values()):
        rows.append(("SNR", "signal-to-noise ratio of the corrupted features in decibels; lower is noisier"))
    modalities = [name for name in MODALITIES if any(name in about.modalities for about in settings.datasets.values())]
    rows.append((", ".join(modalities), ", ".join(MODALITY_LABELS[modality] for modality in modalities)))
    if settings.multimodal_systems and len(modalities) > 1:
        rows.append(
            (
                "Conditions",
                f"{', '.join(settings.incomplete(modalities))}: named by their clean modalities; the others "
                f"are noisy. {ALL_NOISY}: all are noisy. {all_clean(modalities)}: all are clean. Avg.: the mean over "
                "the incomplete ones" + (" that were scored." if settings.conditions else "."),
            )
        )
    systems = [*settings.multimodal_systems, *settings.unimodal_systems]
    return rows + [(system_label(system), _system(system, settings)) for system in systems]


def _metric(name: str) -> str:
    described = METRIC_DESCRIPTIONS.get(name)
    return f"{METRICS[name].label}: {described}" if described else METRICS[name].label


def _system(system: str, settings: ReportSettings) -> str:
    if system in UNIMODAL_SYSTEMS:
        return f"encoder and classifier of the {MODALITY_LABELS[UNIMODAL_SYSTEMS[system]]} modality"
    return SYSTEM_DESCRIPTIONS.get(system) or settings.descriptions.get(system) or "user-defined system"
