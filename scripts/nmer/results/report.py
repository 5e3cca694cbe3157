"""Make the report, one page that opens offline, from the outputs of other steps. Computes only averages of scores."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

import nmer
from nmer.content import converting
from nmer.errors import DataError
from nmer.files import read_json
from nmer.metrics import METRICS
from nmer.names import ALL_NOISY, AVERAGE, MODALITIES, PAPER_SYSTEMS, SPLITS, UNIMODAL_SYSTEMS
from nmer.noise.misses import miss, miss_sentences
from nmer.references.registry import CONSTANT, REFERENCES
from nmer.report_settings import ReportSettings
from nmer.results.chance import with_marks
from nmer.results.claims_audit import NOT_RUN
from nmer.results.embedded import File, embed, embed_image
from nmer.results.labels import MODALITY_LABELS, noise_label, rate_of, system_label
from nmer.results.printed import to_html
from nmer.results.printed_comparisons import arrange_comparisons, read_comparisons, summary
from nmer.results.printed_tables import CAPTIONS
from nmer.results.reading import read_csv
from nmer.results.recorded import Recorded
from nmer.results.scores import average, of_regime
from nmer.results.selection import by_level
from nmer.results.wording import ABSENT, dataset_title, has_level, level_label, level_title, short_title, signed
from nmer.snr_column import with_snr

TEMPLATE = "report.html.j2"
TABLE_SUFFIXES = (".csv", ".md", ".tex")
FIGURE_SUFFIXES = (".csv", ".pdf", ".png")
DATA_SUFFIXES = (".csv", ".pdf")
"""Files of a figure that are embedded for download. The PNG is the displayed image, which browsers can save."""
STATISTICS = ("comparisons", "intervals", "ranks", "confusion")
LIBRARIES = ("numpy", "pandas", "h5py", "scikit-learn", "openTSNE", "matplotlib", "jinja2", "torch", "snakemake")


def render(**sections: object) -> str:
    """Fill the template. Raises jinja2.UndefinedError if a section is missing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(**sections)


def what_was_run(
    scores: pd.DataFrame, settings: ReportSettings, recorded: Recorded | None = None
) -> list[tuple[str, str]]:
    """Return rows (term, description) that describe the experiment.

    recorded: the records of the files behind the scores. Without them, seeds and number of trainings are as configured.
    """
    trainings = recorded.of_step("train.py") if recorded else []
    seeds = recorded.noise_seeds() if recorded else []
    configured = [settings.config.get("noise", {}).get("seed", 0)]
    jobs = len(trainings) or settings.jobs
    rates = {noise: tuple(noises) for noises in settings.rates.values() for noise in noises}
    kinds = dict.fromkeys(rates.get(noise, (noise,)) for noise in settings.snr_db)
    noises = (_noise_text([(noise, level) for noise in kind for level in settings.levels(noise)]) for kind in kinds)
    rows = [
        ("Datasets", _titles(settings.datasets, settings)),
        ("Systems", ", ".join(map(system_label, settings.multimodal_systems)) or "none"),
        ("Noise", "; ".join(noises)),
        *([("All noisy", _noise_text(settings.all_noisy_levels))] if settings.all_noisy_snr_db else []),
        *([("Uni-modal", _unimodal_text(scores, settings))] if settings.unimodal else []),
        ("Repeats", str(scores["repeat"].nunique())),
        ("Folds", ", ".join(f"{name} {_folds_text(part)}" for name, part in scores.groupby("dataset")["fold"])),
        ("Seeds", f"derived from names; noise seed {', '.join(map(str, seeds or configured))}"),
        ("Scores", f"{len(scores):,}"),
    ]
    return [*rows, ("Training jobs", f"{jobs:,}")] if jobs else rows


def _folds_text(folds: pd.Series) -> str:
    """Return how many folds there are, and their numbers if they are not the first ones."""
    numbers = sorted(set(folds))
    first = numbers == list(range(1, len(numbers) + 1))
    return str(len(numbers)) if first else f"{len(numbers)} (number {', '.join(map(str, numbers))})"


def headlines(scores: pd.DataFrame, settings: ReportSettings, trainings: pd.DataFrame | None = None) -> list[str]:
    """Summarise the results: per dataset, the best systems and the losses from noise.

    Uses averages over incomplete conditions under the reference noise; datasets without these have no sentence. A
    system with a training at chance there (trainings: verdicts of ``nmer.results.chance``) is not compared.
    """
    metric, noises = settings.metrics[0], settings.reference_noises
    cells = with_marks(average(of_regime(scores, "incomplete")), trainings)
    cells["at_chance"] = (cells["at_chance"].fillna(0) > 0).astype(bool)
    systems = [system for system in settings.multimodal_systems if system not in CONSTANT]
    here = (cells["condition"] == AVERAGE) & cells["noise"].isin(noises) & cells["system"].isin(systems)
    cells = cells[here & (cells["metric"] == metric)]
    sentences = []
    for dataset, about in settings.datasets.items():
        of_dataset = cells[cells["dataset"] == dataset]
        tables = {(kind, level): rows.set_index("system").sort_index() for kind, level, rows in by_level(of_dataset)}
        run = [place for place in settings.reference_levels if place in tables]
        name = short_title(dataset, about)
        sentences += [
            _best_sentence(f"{name}, {level_title(*place)}", tables[place], metric, settings.averaged_over)
            for place in dict.fromkeys(run[:1] + run[-1:])
        ]
        if len(run) > 1:
            mild, hard = tables[run[0]], tables[run[-1]]
            # A system that is at chance under little noise cannot lose more.
            learnt = mild.index[~mild["at_chance"]]
            lost = (mild["mean"] - hard["mean"]).reindex(learnt).dropna()
            lost = lost.sort_values(ascending=METRICS[metric].higher_is_better, kind="stable")
            losses = ", ".join(f"{system_label(str(system))} {signed(-loss)}" for system, loss in lost.items())
            if losses:
                ends = f"from {level_label(*run[0])} to {level_label(*run[-1])}"
                sentences.append(f"{name}, {noise_label(run[0][0])}: {ends}, {metric} changes by: {losses}.")
    return sentences


def comparison(tables: list[pd.DataFrame]) -> list[str]:
    """Return one sentence on the differences from the paper over all cells that have one; empty if none has."""
    score_tables = [table for table in tables if "mean" in table]
    differences = pd.concat([table["difference"] for table in score_tables]).dropna() if score_tables else pd.Series()
    if differences.empty:
        return []
    largest = differences.iloc[differences.abs().argmax()]
    return [
        f"Compared with the paper: {len(differences)} cells; mean absolute difference "
        f"{differences.abs().mean():.4f}, mean difference {signed(differences.mean())}, largest {signed(largest)}."
    ]


def read_dataset(path: str, settings: ReportSettings) -> dict[str, Any]:
    """Describe a dataset from its validation report at ``path``; quantities that the report lacks are left out."""
    report = read_json(path)
    with converting(path, "Delete it and run again."):
        return _describe_dataset(report, settings) | {"files": [embed(path)]}


def _describe_dataset(report: dict[str, Any], settings: ReportSettings) -> dict[str, Any]:
    about = settings.dataset(report["dataset"])
    splits = [
        (f"fold {fold['fold']}", *(f"{fold[split]['utterances']:,}" for split in SPLITS)) for fold in report["folds"]
    ]
    modalities = [
        (MODALITY_LABELS[m], report["dims"][m], f"{report['lengths'][m]['min']}–{report['lengths'][m]['max']}")
        for m in MODALITIES
        if m in report.get("dims", {}) and m in report.get("lengths", {})
    ]
    repairs = [
        f"{MODALITY_LABELS.get(m, m)}: {count:,} {kind.replace('_', ' ')}"
        for m, kinds in report.get("repairs", {}).items()
        for kind, count in kinds.items()
        if count
    ]
    dropped = [f"{count:,} utterances dropped: {reason}" for reason, count in report.get("dropped", {}).items()]
    return {
        "name": report["dataset"],
        "title": dataset_title(report["dataset"], about),
        "utterances": f"{report['utterances']:,}",
        "classes": ", ".join(f"{name} {report['class_counts'][name]:,}" for name in report["classes"])
        or "scores from {min:g} to {max:g}, median {median:g}".format(**report["scores"]),
        "splits": splits,
        "modalities": modalities,
        "repairs": repairs + dropped,
        "warnings": report.get("warnings", []),
        "notes": report.get("notes", []),
    }


def read_calibration(paths: list[str]) -> list[dict[str, Any]]:
    """Read the rows of the calibration table, as text.

    ``off`` marks a level whose SNR misses its target by more than 1 dB, ``exact`` an alpha_bar solved for instead of an
    integer T (SPEC 2.6). ``numbers`` is the row as stored. Raises DataError if a file is damaged.
    """
    rows = []
    for path in paths:
        try:
            table = with_snr(read_csv(path).astype({"T": "Int64"}))
            rows += [_calibration_row(row) for row in table.itertuples(index=False)]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise DataError(f"{path}: not a calibration table ({error}). Delete it and run again.") from None
    return rows


def warnings(datasets: list[dict[str, Any]], calibration: list[dict[str, Any]]) -> list[str]:
    """Return warnings about the data and about noise levels that miss their target.

    datasets: from :func:`read_dataset`. calibration: from :func:`read_calibration`.
    """
    found = [f"{about['title']}: {warning}" for about in datasets for warning in about["warnings"]]
    return found + miss_sentences(row["numbers"] for row in calibration)


def table_files(stems: Iterable[str]) -> list[Path]:
    """List all files of tables, displayed or embedded for download."""
    return [Path(f"{stem}{suffix}") for stem in stems for suffix in (".html", *TABLE_SUFFIXES)]


def figure_files(stems: Iterable[str]) -> list[Path]:
    """List all files of figures, displayed or embedded for download."""
    return [Path(f"{stem}{suffix}") for stem in stems for suffix in (*FIGURE_SUFFIXES, ".json")]


def statistics_files(comparisons: str | None) -> list[Path]:
    """List the files of comparisons and other statistics."""
    return [Path(comparisons).with_name(f"{name}.csv") for name in STATISTICS] if comparisons else []


def read_table(stem: str) -> dict[str, Any] | None:
    """Read a table's printed form, its tidy data and its files; None if none of it was run."""
    try:
        fragment, data = Path(f"{stem}.html").read_text(encoding="utf-8"), read_csv(f"{stem}.csv")
    except (OSError, ValueError) as error:
        raise DataError(f"{stem}: the table cannot be read ({error}). Make it again with make_table.py.") from None
    if data.empty:
        return None
    number = Path(stem).name.removeprefix("table")
    known = number.isdecimal() and int(number) in CAPTIONS
    return {
        "id": Path(stem).name,
        "title": f"Table {number}" if known else Path(stem).name.capitalize(),
        "html": Markup(fragment),
        "data": data,
        "files": [embed(f"{stem}{suffix}") for suffix in _table_suffixes(stem)],
    }


def _table_suffixes(stem: str) -> list[str]:
    """The suffixes of a table's files for download; the claims have no LaTeX."""
    has_latex = Path(f"{stem}.tex").exists()
    return [suffix for suffix in TABLE_SUFFIXES if suffix != ".tex" or has_latex]


def read_claims(stem: str, settings: ReportSettings) -> dict[str, Any] | None:
    """Read the audit of the paper's claims, in the format of :func:`read_table`.

    None if no system of the paper ran on a corpus of the paper or a substitute, or if no claim could be computed.
    """
    run = set(settings.systems) & {*PAPER_SYSTEMS, *UNIMODAL_SYSTEMS}
    if not run or not any(about.paper_name for about in settings.datasets.values()):
        return None
    audit = read_table(stem)
    return audit if audit and (audit["data"]["verdict"] != NOT_RUN).any() else None


def read_comparisons_table(path: str, settings: ReportSettings) -> dict[str, Any] | None:
    """Read the printed comparisons, sentences that summarise them, and the files; None if nothing was compared."""
    table = read_comparisons(path)
    printed = arrange_comparisons(table, settings)
    if not printed.grids:
        return None
    return {
        "reference": system_label(settings.reference_system),
        "summary": summary(table, settings),
        "html": Markup(to_html(printed)),
        "files": [embed(file, file.stem) for file in statistics_files(path)],
    }


def compared_files(stems: Iterable[str]) -> list[Path]:
    """List the files of comparisons with other experiments."""
    return [Path(f"{stem}{suffix}") for stem in stems for suffix in (".csv", ".md", ".html")]


def read_compared(stem: str) -> dict[str, Any]:
    """Read a comparison with another experiment and its files. Raises DataError if it cannot be read."""
    table, *others = compared_files([stem])
    try:
        fragment = others[-1].read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{stem}: the table cannot be read ({error}). Make it again with compare_with.py.") from None
    name = table.stem
    return {
        "id": name,
        "title": f"Comparison with experiment {name.removeprefix('beside_')}",
        "html": Markup(fragment),
        "files": [embed(file, name) for file in (table, others[0])],
    }


def read_figure(stem: str) -> dict[str, Any] | None:
    """Read a figure's image as a data URI, its texts, the values of its curves and its files; None if it is empty.

    Raises DataError if its files are missing or damaged.
    """
    texts = read_json(f"{stem}.json")
    try:
        image = embed_image(f"{stem}.png")
        printed = {key: str(texts[key]) for key in ("title", "caption", "alternative")}
    except (OSError, KeyError) as error:
        raise DataError(f"{stem}: the figure cannot be read ({error}). Draw it again.") from None
    if texts.get("empty"):
        return None
    return {
        "id": Path(stem).name,
        **printed,
        "source": image,
        "curves": texts.get("curves", []),
        "files": [embed(f"{stem}{suffix}") for suffix in DATA_SUFFIXES],
    }


def embed_all(paths: Iterable[str]) -> list[File]:
    """Embed files for download, each under its name."""
    return [embed(path, Path(path).name) for path in paths]


def versions(commit: str) -> list[tuple[str, str]]:
    """Return names and versions: commit, machine, workflow, Python and the installed libraries."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    rows = [("Commit", commit), ("Page made on", machine), ("nmer", nmer.__version__)]
    rows += [("Python", platform.python_version())]
    for library in LIBRARIES:
        try:
            rows.append((library, metadata.version(library)))
        except metadata.PackageNotFoundError:
            continue  # the report's environment may lack libraries of the training
    return rows


def _titles(datasets: Iterable[str], settings: ReportSettings) -> str:
    return ", ".join(short_title(dataset, settings.dataset(dataset)) for dataset in datasets)


def _noise_text(levels: list[tuple[str, float | None]]) -> str:
    """Describe a noise kind and its levels, e.g. ``Gaussian (−10, −20 dB)`` or ``drop frames (rates 0, 0.3)``."""
    label = noise_label(levels[0][0])
    texts = [level_label(noise, snr_db) for noise, snr_db in levels]
    if levels[0][1] is not None:
        return f"{label} ({', '.join(text.removesuffix(' dB') for text in texts)} dB)"
    if rate_of(levels[0][0]) is None:
        return label
    rates = ", ".join(text.removeprefix("rate ") for text in texts)
    return f"{label} ({'rates' if len(texts) > 1 else 'rate'} {rates})"


def _unimodal_text(scores: pd.DataFrame, settings: ReportSettings) -> str:
    """Describe the uni-modal systems: modalities, datasets, levels and training data."""
    about, systems = settings.unimodal, settings.unimodal_systems
    assert about, "called where uni-modal systems were run"
    modalities = ", ".join(MODALITY_LABELS[UNIMODAL_SYSTEMS[system]] for system in systems)
    noise = _noise_text([(noise, level) for noise, level, _condition in settings.unimodal_places if noise])
    noisy = scores["system"].isin(systems) & (scores["condition"] == ALL_NOISY)
    trained = {"all_noisy": "trained on equally noisy data", "clean": "trained on clean data"}
    regimes = [trained[regime] for regime in trained if (noisy & (scores["regime"] == regime)).any()]
    parts = [f"{modalities} on {_titles(about.datasets, settings)}", noise, *regimes[:1]]
    if about.clean_reference:
        parts.append("also trained and tested without noise for reference, which the paper does not report")
    return "; ".join(parts)


def _best_sentence(where: str, systems: pd.DataFrame, metric: str, over: str) -> str:
    learnt = systems[~systems["at_chance"] & systems["mean"].notna()]
    marked = len(systems) - len(learnt)
    if learnt.empty:
        return f"{where}: every system has a training at chance, so none is named the best."
    best = str(learnt["mean"].idxmax() if METRICS[metric].higher_is_better else learnt["mean"].idxmin())
    mean, deviation = learnt["mean"][best], learnt["std"][best]
    spread = "" if pd.isna(deviation) else f"\u00a0±\u00a0{deviation:.4f}"  # kept on one line
    rank = f"the best of {_count(learnt.index)} is {system_label(best)}" if len(learnt) > 1 else system_label(best)
    aside = f" ({marked} with a training at chance not counted)" if marked else ""
    score = f"{metric} {mean:.4f}{spread}, averaged over {over}{aside}"
    return f"{where}: {rank} with {score}."


def _count(names: Iterable[str]) -> str:
    """Return how many systems there are, reference rows counted separately, e.g. ``7 systems and 1 reference``."""
    rows = [name in REFERENCES for name in names]
    counts = ((rows.count(False), "system"), (rows.count(True), "reference"))
    return " and ".join(f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count)


def _calibration_row(row: Any) -> dict[str, Any]:
    # A kind without an SNR has neither a level nor steps.
    exact = not pd.isna(row.snr_db) and pd.isna(row.T)
    return {
        "dataset": row.dataset,
        "modality": MODALITY_LABELS.get(row.modality, row.modality),
        "noise": noise_label(row.noise),
        "level": ABSENT if not has_level(row.noise, row.snr_db) else level_label(row.noise, row.snr_db),
        "variance": f"{row.variance:.4g}",
        "steps": "exact" if exact else "–" if pd.isna(row.T) else str(row.T),
        "alpha_bar": "–" if pd.isna(row.alpha_bar) else f"{row.alpha_bar:.4g}",
        "attained": "–" if pd.isna(row.attained_db) else signed(row.attained_db, digits=2),
        "effective": "–" if pd.isna(row.effective_db) else signed(row.effective_db, digits=2),
        "measured": _decibels_or_none(row, "measured_db"),
        "utterances": _utterance_range(row),
        "off": bool(miss(row._asdict())),
        "numbers": row._asdict(),
        "exact": exact,
    }


def _utterance_range(row: Any) -> str:
    """Return the range of SNRs of utterances, and how many have none."""
    known = not pd.isna(getattr(row, "utterance_low_db", None))
    text = " to ".join(_decibels_or_none(row, f"utterance_{end}_db") for end in ("low", "high")) if known else "–"
    without = getattr(row, "utterances_without_snr", None)
    return text if pd.isna(without) or not without else f"{text}; {int(without):,} without variance"


def _decibels_or_none(row: Any, column: str) -> str:
    value = getattr(row, column, None)
    return "–" if pd.isna(value) else signed(value, digits=2)
