"""Compare two experiments: the cells that both scored, on the same utterances. Does not test differences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from nmer.digests import recorded
from nmer.errors import ConfigError, DataError, nearest
from nmer.metrics import METRICS, SHOWN_BY_DEFAULT
from nmer.names import ALL_CLEAN_SCORES, ALL_NOISY, AVERAGE, TRAINED, corruption_name, predictions_path
from nmer.results.labels import system_label
from nmer.results.printed import Cell, Grid, PrintedTable
from nmer.results.reading import rows_of
from nmer.results.scores import CELL, average, read_scores
from nmer.results.wording import UNDEFINED, level_title, signed
from nmer.snr_column import merged_by_level, snr_of

RUN = ("dataset", "system", "regime", "noise", "snr_db")
_STATISTICS = {"mean": "mean", "std": "std", "n": "repeats"}


def compare_experiments(
    results: Path, first: str, second: str, files: Sequence[Path] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Return the averages of two experiments, one row per cell that both scored, and a list of runs in only one.

    results: the folder that contains the experiments. files: the collected scores of both, by default their
    ``scores.csv``. Columns: those of ``CELL``; ``first`` and ``second``, the names;
    ``first_mean``, ``first_std``, ``first_repeats`` and the same for the second, fractions as in ``average``;
    ``difference``, second minus first.
    Raises ConfigError for an unknown experiment or the same one twice; DataError if no run is in both, or if a run of
    both was not scored on the same utterances, folds, conditions and labels.
    """
    if first == second:
        raise ConfigError(f"experiment '{first}' is given twice. Name two experiments.")
    scores = [read_scores(path) for path in files or [_scores(results, name) for name in (first, second)]]
    runs = [list(dict.fromkeys(rows_of_runs(part))) for part in scores]
    shared = [run for run in runs[0] if run in runs[1]]
    if not shared:
        raise DataError(
            f"experiments '{first}' and '{second}' have no run in common (same dataset, system, regime, noise and SNR)."
            " Compare experiments that share one."
        )
    for run in shared:
        _check_same_utterances(results, first, second, run)
    keep = set(shared)
    averages = [
        average(part[[run in keep for run in rows_of_runs(part)]]).rename(
            columns={old: f"{place}_{new}" for old, new in _STATISTICS.items()}
        )
        for place, part in zip(("first", "second"), scores, strict=True)
    ]
    table = merged_by_level(averages[0], averages[1], list(CELL))
    table = table.assign(first=first, second=second, difference=table["second_mean"] - table["first_mean"])
    columns = [f"{place}_{name}" for place in ("first", "second") for name in _STATISTICS.values()]
    only = [
        f"{name}: {_named(run)}"
        for name, own, others in ((first, runs[0], runs[1]), (second, runs[1], runs[0]))
        for run in own
        if run not in others
    ]
    return table[[*CELL, "first", "second", *columns, "difference"]], only


def recorded_rates(results: Path, experiment: str) -> dict[str, dict[str, float]]:
    """Return the rates of an experiment, as in ``ReportSettings``, by the record of its report; empty without one."""
    record = recorded(results / experiment / "report.html") or {}
    rates: dict[str, dict[str, float]] = record.get("settings", {}).get("rates", {})
    return rates


def why_not_comparable(first: Path, second: Path) -> str:
    """Return why two files of collected scores have nothing to compare; empty if they have a run in common."""
    for path in (first, second):
        if not path.exists():
            return f"{path} does not exist"
    runs = [set(rows_of_runs(read_scores(path))) for path in (first, second)]
    return "no run has scores in both experiments yet" if runs[0].isdisjoint(runs[1]) else ""


def rows_of_runs(scores: pd.DataFrame) -> list[tuple[str, str, str, str, float | None]]:
    """Return the run of every row: values of RUN, None for no SNR."""
    return [(row.dataset, row.system, row.regime, row.noise, snr_of(row.snr_db)) for row in rows_of(scores)]


def shown_rows(table: pd.DataFrame, metrics: Collection[str] | None) -> pd.DataFrame:
    """Return the printed rows of a comparison: in each regime the condition that the tables of the paper show.

    That is the average of the incomplete conditions, all modalities noisy in the regime ``all_noisy``, and both of a
    system trained on clean data. A run that has none of them, such as of a single modality, is printed in full.
    metrics: by default those of the target. Raises ConfigError for an unknown metric, and if the scores contain none of
    the metrics.
    """
    metrics = metrics or SHOWN_BY_DEFAULT[METRICS[table["metric"].iloc[0]].target]
    for metric in metrics:
        if metric not in METRICS:
            raise ConfigError(f"--metrics: unknown metric '{metric}'. {nearest(metric, METRICS)}")
    printed = [
        _as_in_tables(part)
        for key, part in table.groupby([*RUN, "metric"], dropna=False, sort=False)
        if key[-1] in metrics
    ]
    if not printed:
        available = ", ".join(dict.fromkeys(table["metric"]))
        raise ConfigError(f"--metrics: the scores contain none of {', '.join(metrics)}. Choose from: {available}.")
    return pd.concat(printed)


def _as_in_tables(run: pd.DataFrame) -> pd.DataFrame:
    shown = {"incomplete": (AVERAGE,), "all_noisy": (ALL_NOISY,)}.get(run["regime"].iloc[0], (AVERAGE, ALL_NOISY))
    rows = run[run["condition"].isin(shown)]
    return run if rows.empty else rows


def arrange(table: pd.DataFrame, only: list[str], metrics: Collection[str]) -> PrintedTable:
    """Lay out the comparison for the report: a grid per dataset, rows of :func:`shown_rows`, scores as fractions."""
    first, second = table["first"].iloc[0], table["second"].iloc[0]
    heads = ("System", "Regime", "Noise", "Condition", "Metric")
    header = (((first, 1), (second, 1), ("Difference", 1)),)
    grids = []
    for dataset, part in shown_rows(table, metrics).groupby("dataset", sort=False):
        rows = []
        for row in rows_of(part):
            noise = _noise_title(row.noise, row.snr_db)
            stubs = (system_label(row.system), row.regime, noise, row.condition, row.metric)
            means = ((row.first_mean, row.first_std), (row.second_mean, row.second_std))
            scores = [Cell(*_printed(mean, std, 4)) for mean, std in means]
            rows.append((stubs, (*scores, Cell(UNDEFINED if pd.isna(row.difference) else signed(row.difference)))))
        grids.append(Grid(str(dataset), heads, header, tuple(rows)))
    note = (
        f"Mean ± standard deviation over repeats; difference: {second} minus {first}. Both were scored on the same "
        "utterances. The differences are not tested."
    )
    if only:
        note += f" Only in one experiment: {'; '.join(only)}."
    return PrintedTable(0, f"{second} compared with {first}.", note, tuple(grids))


def to_markdown(table: pd.DataFrame, only: list[str], metrics: list[str] | None = None) -> str:
    """Return the comparison as Markdown, fractions in percent. Rows and errors are those of :func:`shown_rows`."""
    first, second = table["first"].iloc[0], table["second"].iloc[0]
    lines = [
        f"| dataset | system | regime | noise | condition | metric | {first} | {second} | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    printed = shown_rows(table, metrics)
    for row in rows_of(printed):
        noise = _noise_title(row.noise, row.snr_db)
        cells = [row.dataset, row.system, row.regime, noise, row.condition, row.metric]
        scale, digits = (100, 2) if METRICS[row.metric].is_fraction else (1, 4)
        for mean, std in ((row.first_mean, row.first_std), (row.second_mean, row.second_std)):
            cells.append(" ".join(filter(None, _printed(scale * mean, scale * std, digits))))
        difference = UNDEFINED if pd.isna(row.difference) else f"{scale * row.difference:+.{digits}f}"
        lines.append(f"| {' | '.join(cells)} | {difference} |")
    whole = [metric for metric in dict.fromkeys(printed["metric"]) if not METRICS[metric].is_fraction]
    unit = f"Percent ({', '.join(whole)}: plain numbers)" if whole else "Percent"
    lines += [
        "",
        f"{unit}, mean ± standard deviation over repeats; difference: {second} minus {first}, in points. Both were "
        "scored on the same utterances. The differences are not tested; comparisons within each experiment are in its "
        "statistics.",
    ]
    if only:
        lines += ["", "Only in one experiment, not compared:", "", *(f"- {name}" for name in only)]
    return "\n".join(lines) + "\n"


def _printed(mean: float, std: float, digits: int) -> tuple[str, str]:
    """Format a mean and its standard deviation, which is empty if missing."""
    if pd.isna(mean):
        return UNDEFINED, ""
    return f"{mean:.{digits}f}", "" if pd.isna(std) else f"± {std:.{digits}f}"


def _named(run: tuple[str, str, str, str, float | None]) -> str:
    dataset, system, regime, noise, snr_db = run
    return f"{system} on {dataset}, regime {regime}, {_noise_title(noise, snr_db)}"


def _noise_title(noise: str, snr_db: float | None) -> str:
    return level_title(noise, snr_db) if noise else "clean"


def _scores(results: Path, experiment: str) -> Path:
    """Return the collected scores of an experiment."""
    path = results / experiment / "scores.csv"
    if not path.is_file():
        known = [found.parent.name for found in results.glob("*/scores.csv")]
        if experiment in {found.name for found in results.glob("*/") if (found / "scores").is_dir()}:
            raise DataError(f"{path}: does not exist. Make it: {_command(results, experiment, path)}")
        raise ConfigError(f"experiment '{experiment}' has no scores in {results}. {nearest(experiment, known)}")
    return path


def _command(results: Path, experiment: str, path: Path) -> str:
    """Return the command that makes a file, which Snakemake does only for a named one if the report exists."""
    return f"nmer run {experiment} -- {path.relative_to(results.parent)}"


def _check_same_utterances(
    results: Path, first: str, second: str, run: tuple[str, str, str, str, float | None]
) -> None:
    """Raises DataError unless both experiments tested the same utterances with the same labels, folds, conditions."""
    one, other = (_tested(results, name, run) for name in (first, second))
    if one != other:
        raise DataError(
            f"{_named(run)}: '{first}' and '{second}' were not scored on the same utterances ({len(one - other)} and "
            f"{len(other - one)} of {len(one)} and {len(other)} tests are in only one, by utterance, condition, fold "
            "and label). Use the same corpus, folds, classes and evaluation for both."
        )


def _tested(
    results: Path, experiment: str, run: tuple[str, str, str, str, float | None]
) -> set[tuple[str, str, int, str]]:
    """Return the tests of a run: utterance, condition, fold and label. Raises DataError without its predictions."""
    dataset, system, regime, noise, snr_db = run
    stem = corruption_name(noise, snr_db) if noise else ALL_CLEAN_SCORES
    folder = results / experiment / "scores" / dataset / system / regime
    # All tests of a training that is tested at several levels use the same utterances.
    own = [folder / f"{stem}.csv", *sorted(folder.glob(f"{TRAINED}*/{stem}.csv"))]
    path = next((path for path in map(predictions_path, own) if path.is_file()), None)
    if path is None:
        missing = predictions_path(next((scores for scores in own if scores.is_file()), own[0]))
        raise DataError(
            f"{missing}: does not exist, so the tested utterances cannot be compared. Make it: "
            f"{_command(results, experiment, missing)}"
        )
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(("utterance", "condition", "label"), str), keep_default_na=False)
        classes = [name.removeprefix("prob_") for name in table.columns if name.startswith("prob_")]
        tests = table[["utterance", "condition", "fold", "label"]].drop_duplicates()
        named = [classes[int(label)] if classes else label for label in tests["label"]]
        return {
            (row.utterance, row.condition, int(row.fold), label)
            for row, label in zip(rows_of(tests), named, strict=True)
        }
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        make = _command(results, experiment, path)
        raise DataError(f"{path}: cannot be read as predictions ({error}). Delete it and run: {make}") from None
