"""The table of a sweep: test and validation scores of every value, and the value with the best validation score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from nmer.command import fill
from nmer.metrics import METRICS
from nmer.names import ALL_NOISY, AVERAGE, CLEAN, MIXED
from nmer.report_settings import ReportSettings
from nmer.results.chance import MARKS, with_marks
from nmer.results.labels import system_label
from nmer.results.printed import Cell, Grid, PrintedTable
from nmer.results.reading import rows_of
from nmer.results.scores import average, defined_mean
from nmer.results.wording import ABSENT, AT_CHANCE, dataset_title, level_title
from nmer.snr_column import merged_by_level

LOSS = "loss"
"""The validation cross-entropy, if it selects the epoch."""

PLACE = ("dataset", "regime", "noise", "snr_db")
"""Keys within which values are compared."""

COLUMNS = (
    *PLACE,
    "system",
    "option",
    "value",
    "metric",
    "test",
    "test_std",
    "validation",
    "validation_std",
    "n",
    "chosen",
    *MARKS,
)
"""option, value: the swept options and their values as text. chosen: whether the validation score is the best."""


@dataclass(frozen=True)
class SweepSettings:
    """Settings of a sweep.

    settings: of the tables. system: the one that is varied. sweep: variant -> option -> value.
    trained_as: variant -> name of its training. selection: variant -> metric that selects its epoch, or ``loss``.
    """

    settings: ReportSettings
    system: str
    sweep: dict[str, dict[str, Any]]
    trained_as: dict[str, str]
    selection: dict[str, str]

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Self:
        """Read settings from a step's JSON, where mappings in ``sweep`` are lists of pairs, in the order of the
        configuration. Raises ConfigError for an unknown or a missing key."""
        settings = ReportSettings.from_mapping(mapping["settings"])
        sweep = {system: dict(values) for system, values in mapping["sweep"]}
        return fill(cls, mapping | {"settings": settings, "sweep": sweep}, "--settings")

    @property
    def chosen_by(self) -> str:
        """The validation score that chooses a value: the one that selects epochs, or the first metric if swept."""
        selections = set(self.selection.values())
        return selections.pop() if len(selections) == 1 else self.settings.metrics[0]

    @property
    def options(self) -> str:
        """The swept options, as printed."""
        return ", ".join(next(iter(self.sweep.values())))

    def history_columns(self) -> dict[str, str]:
        """Return the columns of a history that the table reads, for ``read_histories``."""
        scores = [*self.settings.metrics, self.chosen_by, *self.selection.values()]
        return {"repeat": "Int64", "epoch": "Int64", **{f"val_{name}": "float64" for name in dict.fromkeys(scores)}}


def sweep_table(
    scores: pd.DataFrame, histories: pd.DataFrame, about: SweepSettings, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the scores of every value, columns COLUMNS, values in the order of the configuration.

    scores: collected scores. histories: from ``read_histories`` with ``history_columns``. trainings: verdicts of
    ``nmer.results.chance``, for the columns MARKS.
    Test scores are averaged as in Table 2; in the regime ``all_noisy`` they are those with all modalities noisy.
    Validation scores are those of the selected epoch: mean over folds, then mean and standard deviation over repeats.
    """
    tested = with_marks(average(scores[scores["system"].isin(about.sweep)]), trainings)
    conditions = {"incomplete": AVERAGE, "clean": AVERAGE, "all_noisy": ALL_NOISY}
    tested = tested[tested["condition"] == tested["regime"].map(conditions)]
    tested = tested[tested["metric"].isin(about.settings.metrics)].rename(columns={"mean": "test", "std": "test_std"})
    parts = [_validation(histories, system, about) for system in about.sweep]
    validated = _with_choice(pd.concat(parts, ignore_index=True), about)
    several = validated["noise"].isin((MIXED, CLEAN))
    if (~several & (validated["noise"] != "")).any():  # with several trainings, each counts at its own level
        validated, several = validated[~several], several[~several]
    everywhere = several | (validated["noise"] == "")  # one training for every level
    key = ["dataset", "regime", "system", "metric"]
    joined = pd.concat(
        [
            merged_by_level(tested, validated[~everywhere], [*key, "noise", "snr_db"]),
            tested.merge(validated[everywhere].drop(columns=["noise", "snr_db"]), on=key),
        ],
        ignore_index=True,
    )
    order = {system: position for position, system in enumerate(about.sweep)}
    by_metric = {metric: position for position, metric in enumerate(about.settings.metrics)}
    table = joined.assign(
        value=joined["system"].map({name: value_text(values) for name, values in about.sweep.items()}),
        option=about.options,
        _system=joined["system"].map(order),
        _metric=joined["metric"].map(by_metric),
        _level=-joined["snr_db"],
    )
    in_order = ["dataset", "regime", "noise", "_level", "_system", "_metric"]
    table = table.sort_values(in_order, kind="stable", ignore_index=True)
    return table[list(COLUMNS)]


def by_place(table: pd.DataFrame) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Group the rows by place, in the order of the table."""
    groups: Any = table.groupby(list(PLACE), dropna=False, sort=False)
    return [(tuple(place), part) for place, part in groups]


def place_title(regime: str, noise: str, snr_db: float | None) -> str:
    """Return the printed level of a place, with its regime unless it is ``incomplete``."""
    of_regime = {"all_noisy": ", all noisy", "clean": ", trained clean"}.get(regime, "")
    return f"{level_title(noise, snr_db)}{of_regime}"


def value_text(values: Mapping[str, Any]) -> str:
    """Return the printed values of a variant, without the name if there is only one option."""
    texts = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return next(iter(texts.values())) if len(texts) == 1 else ", ".join(f"{k} {text}" for k, text in texts.items())


def choices(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return per place the value with the best validation score and the one with the best test score of a metric.

    Columns PLACE, ``chosen`` and ``best``. Test scores do not choose a value; they show the cost of the choice.
    """
    rows = []
    for place, part in by_place(table[table["metric"] == metric]):
        score = part["test"] if METRICS[metric].higher_is_better else -part["test"]
        chosen = part.loc[part["chosen"], "value"]
        best = part["value"].iloc[int(score.argmax())] if score.notna().any() else ""
        rows.append((*place, chosen.iloc[0] if len(chosen) else "", best))
    return pd.DataFrame(rows, columns=[*PLACE, "chosen", "best"])


def arrange_sweep(table: pd.DataFrame, about: SweepSettings) -> PrintedTable:
    """Lay out the printed table: values in rows, test and validation scores in columns, grids by dataset and noise."""
    metrics, grids = about.settings.metrics, []
    for (dataset, regime, noise, snr_db), part in by_place(table):
        rows = []
        for value, cells in part.groupby("value", sort=False):
            by_metric = {row.metric: row for row in rows_of(cells)}
            texts = [cell for metric in metrics for cell in _cells(by_metric.get(metric))]
            rows.append(((str(value),), tuple(texts)))
        title = f"{dataset_title(dataset, about.settings.dataset(dataset))}, {place_title(regime, noise, snr_db)}"
        header = (
            tuple((metric, 2) for metric in metrics),
            tuple((split, 1) for _metric in metrics for split in ("test", "validation")),
        )
        grids.append(Grid(title, (about.options,), header, tuple(rows)))
    caption = f"{system_label(about.system)} over {about.options}."
    chosen_by = "loss" if about.chosen_by == LOSS else about.chosen_by
    note = (
        f"Mean ± standard deviation over repeats. Bold: the value with the best validation score, by {chosen_by}. The "
        "test scores of the other values only show the cost of this choice. Validation scores are those of the "
        f"selected epoch. {AT_CHANCE} k/n: k of n trainings are at chance."
    )
    return PrintedTable("sweep", caption, note, tuple(grids))


def _cells(row: Any) -> tuple[Cell, Cell]:
    if row is None:
        return Cell(), Cell()
    mark = "" if pd.isna(row.at_chance) or not row.at_chance else f"{AT_CHANCE} {row.at_chance}/{row.trainings}"
    test = Cell(_number(row.test), _spread(row.test_std), best=bool(row.chosen), mark=mark)
    return test, Cell(_number(row.validation), _spread(row.validation_std), best=bool(row.chosen))


def _number(value: float) -> str:
    return ABSENT if pd.isna(value) else f"{value:.4f}"


def _spread(value: float) -> str:
    return "" if pd.isna(value) else f"± {value:.4f}"


def _validation(histories: pd.DataFrame, system: str, about: SweepSettings) -> pd.DataFrame:
    """Return the validation scores of one variant at its selected epochs: a row per place and score, with mean and
    standard deviation over repeats."""
    own = histories[histories["system"] == about.trained_as[system]]
    selection = f"val_{about.selection[system]}"
    signed = own[selection] if _higher_is_better(about.selection[system]) else -own[selection]
    run = ["dataset", "regime", "noise", "snr_db", "fold", "repeat"]
    # Training keeps the earliest of equal epochs.
    order = own.assign(_selection=signed).sort_values(["_selection", "epoch"], ascending=[False, True], kind="stable")
    selected = order.drop_duplicates(run)
    names = [name for name in about.history_columns() if name.startswith("val_")]
    tidy = selected.melt(run, names, var_name="metric", value_name="score")
    by_repeat = defined_mean(tidy.groupby([*run[:4], "metric", "repeat"], dropna=False)["score"]).reset_index()
    cells = by_repeat.groupby([*run[:4], "metric"], dropna=False)["score"]
    scores = cells.agg(validation="mean", validation_std="std").reset_index()
    return scores.assign(system=system, metric=scores["metric"].str.removeprefix("val_"))


def _with_choice(validated: pd.DataFrame, about: SweepSettings) -> pd.DataFrame:
    """Add the column ``chosen``: whether a variant has the best validation score at its place, the first if equal."""
    deciding = validated[(validated["metric"] == about.chosen_by) & validated["validation"].notna()]
    score = deciding["validation"] if _higher_is_better(about.chosen_by) else -deciding["validation"]
    # Variants are in the order of the configuration, and idxmax returns the first maximum.
    best = score.groupby([deciding[name] for name in PLACE], dropna=False, sort=False).idxmax()
    chosen = {_key(row) for row in rows_of(deciding.loc[best])}
    return validated.assign(chosen=[_key(row) in chosen for row in rows_of(validated)])


def _key(row: Any) -> tuple[Any, ...]:
    return (row.dataset, row.regime, row.noise, None if pd.isna(row.snr_db) else row.snr_db, row.system)


def _higher_is_better(name: str) -> bool:
    return name != LOSS and METRICS[name].higher_is_better
