"""Validation of a corpus before it is stored, and the validation report with the paper's sizes (Table 1)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nmer.content import converting
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.label_parsing import check_class_names
from nmer.corpora.registry import numbered
from nmer.corpora.store import FeatureStore
from nmer.errors import DataError
from nmer.names import SCORE, SPLITS

PUBLISHED = {
    "IEMOCAP": {
        "class_counts": {"happy": 1636, "angry": 1103, "sad": 1084, "neutral": 1708},
        "counted_over": ["train", "val", "test"],
        "sizes": {"train": 4446, "val": 528, "test": 557},
    },
    "CMU-MOSEI": {
        "class_counts": {"positive": 14842, "negative": 6066},
        "counted_over": ["train", "test"],
        "sizes": {"train": 16265, "val": 1869, "test": 4643},
    },
}
"""The paper's Table 1; validation splits, which it omits, from SPEC 5.1 and 5.2. IEMOCAP's sizes are those of the fold
that tests Ses01M."""

MAX_CLASS_LIKE_VALUES = 3
"""Scores with at most this many different values are probably classes."""

_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check(corpus: Corpus, settings: CorpusSettings, source: str | Path | None = None) -> None:
    """Raise DataError that names file or key if the corpus is not usable for training and test. Reads no features.

    source: file or folder of the corpus, for messages.
    """
    section = f"datasets.{settings.dataset}"
    _check_arrays(corpus, section, settings)
    _check_utterances(corpus, section, source)
    if settings.target == SCORE:
        _check_scores(corpus, section)
    else:
        _check_classes(corpus, section)
        if settings.classes is None:
            check_class_names(corpus.classes, source or section, section)
    for m in settings.modalities:
        _check_modality(corpus, m, settings.dims.get(m), section)
    if len(corpus.folds) < settings.folds:
        raise DataError(
            f"{section}.folds: the number is {settings.folds}, but the corpus has {len(corpus.folds)}. Correct the key."
            f"{background(corpus)}"
        )
    for number, fold in corpus.folds.items():
        _check_fold(corpus, fold, f"{section}, fold {number}")


def _check_arrays(corpus: Corpus, section: str, settings: CorpusSettings) -> None:
    """Check that a reader, which may be custom, returned what :class:`Corpus` documents."""
    count, layout, modalities = len(corpus.ids), settings.layout, settings.modalities
    with converting(f"{section}, layout '{layout}'", "Correct its reader: see the documentation of Corpus."):
        scores, arrays = settings.target == SCORE, {f"lengths[{m}]": corpus.lengths[m] for m in modalities}
        is_right = isinstance(corpus.labels, np.ndarray) and corpus.labels.dtype.kind in ("f" if scores else "iu")
        wrong = ["labels"] * (not is_right or corpus.labels.shape != (count,))
        wrong += [name for name, array in arrays.items() if not _whole(array) or array.shape != (count,)]
        wrong += ["speakers"] * (len(corpus.speakers) != count)
        wrong += [name for name in ("ids", "speakers", "classes") if not _all_text(getattr(corpus, name))]
        wrong += ["classes"] * (scores and bool(corpus.classes))
        wrong += [f"dims[{m}]" for m in modalities if int(corpus.dims[m]) != corpus.dims[m]]
        for number, fold in corpus.folds.items():
            for split in SPLITS:
                index = np.asarray(fold[split])
                outside = index.size and (not _whole(index) or index.min() < 0 or index.max() >= count)
                if index.ndim != 1 or outside:
                    wrong.append(f"folds[{number}][{split}]")
    if wrong:
        expected = "lengths and folds are arrays of whole numbers, labels one of real numbers, without classes"
        expected = expected if scores else "labels, lengths and folds are arrays of whole numbers"
        raise DataError(
            f"{section}: the reader of layout '{layout}' returned {', '.join(wrong)} unlike what is documented for "
            f"Corpus ({count} utterances; {expected}). Correct it."
        )


def _whole(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


def _all_text(names: Sequence[object]) -> bool:
    return all(isinstance(name, str) for name in names)


def background(corpus: Corpus) -> str:
    """Return sentences on dropped utterances and the interpretation of the files, to append to a message."""
    dropped = "".join(f" {count} dropped: {reason}." for reason, count in corpus.dropped.items() if count)
    return dropped + "".join(f" {note}" for note in corpus.notes)


def _check_utterances(corpus: Corpus, section: str, source: str | Path | None) -> None:
    repeated = [identifier for identifier, count in Counter(corpus.ids).items() if count > 1]
    if repeated:
        where = f"{section} ({source})" if source else section
        more = f" ({len(repeated)} such ids)" if len(repeated) > 1 else ""
        raise DataError(
            f"{where}: utterance id '{repeated[0]}' occurs more than once, {_places(corpus, repeated[0])}{more}. Make "
            "ids unique."
        )
    for sort, names in (("an utterance id", corpus.ids), ("a speaker", corpus.speakers), ("a class", corpus.classes)):
        if not all(name.strip() for name in names):
            raise DataError(f"{section}: {sort} is empty or blank. Give it a name.")
    for sort, names in (("utterance id", corpus.ids), ("speaker", corpus.speakers), ("class", corpus.classes)):
        broken = next((name for name in names if _UNWRITABLE.search(name)), None)
        if broken is not None:
            raise DataError(
                f"{section}: {sort} {broken!r} holds a line end, a zero byte or another control character, which "
                "tables and stores cannot keep. Rename it."
            )


def _check_scores(corpus: Corpus, section: str) -> None:
    infinite = np.flatnonzero(~np.isfinite(corpus.labels))
    if len(infinite):
        row = int(infinite[0])
        raise DataError(
            f"{section}: score {corpus.labels[row]} of utterance '{corpus.ids[row]}' is not finite. Correct the labels."
        )


def _check_classes(corpus: Corpus, section: str) -> None:
    outside = (corpus.labels < 0) | (corpus.labels >= len(corpus.classes))
    if outside.any():
        index = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"{section}: label {corpus.labels[index]} of utterance '{corpus.ids[index]}' is outside the classes "
            f"{', '.join(corpus.classes)}. Correct the labels or the key 'classes'."
        )
    labelled = set(corpus.labels.tolist())
    unused = [name for number, name in enumerate(corpus.classes) if number not in labelled]
    if unused:
        raise DataError(
            f"{section}: no utterance is labelled {', '.join(unused)}; the classes are {numbered(corpus.classes)}. "
            f"Name only classes that have utterances in the key 'classes', or correct the labels.{background(corpus)}"
        )


def _places(corpus: Corpus, identifier: str) -> str:
    """Describe the positions of an utterance in the corpus and the splits that contain it."""
    rows = [row for row, name in enumerate(corpus.ids) if name == identifier]
    number, fold = next(iter(corpus.folds.items()), (0, {}))
    places = []
    for row in rows:
        splits = [split for split in SPLITS if row in fold.get(split, ())]
        of_fold = f" in fold {number}" if len(corpus.folds) > 1 else ""
        places.append(f"as number {row + 1} ({', '.join(splits) or 'no split'}{of_fold})")
    return " and ".join(places)


def _check_modality(corpus: Corpus, modality: str, expected: int | None, section: str) -> None:
    place = corpus.files.get(modality, section)
    if corpus.dims[modality] < 1:
        raise DataError(f"{place}: modality '{modality}' has no dimensions. Correct the file.")
    if expected is not None and corpus.dims[modality] != expected:
        raise DataError(
            f"{place}: features have {corpus.dims[modality]} dimensions, but {section}.dims.{modality} is {expected}. "
            "Correct the key or the file."
        )
    empty = np.flatnonzero(corpus.lengths[modality] < 1)
    if len(empty):
        raise DataError(f"{place}: utterance '{corpus.ids[empty[0]]}' has no frames. Remove it from the lists.")


def _check_fold(corpus: Corpus, fold: Mapping[str, np.ndarray], place: str) -> None:
    for split in SPLITS:
        if not len(fold[split]):
            raise DataError(f"{place}: the {split} split is empty.{background(corpus)}")
        present = np.unique(corpus.labels[fold[split]])
        if len(present) < 2:
            few = "classes" if corpus.classes else "different scores"
            value = corpus.classes[present[0]] if corpus.classes else f"{present[0]:g}"
            raise DataError(
                f"{place}: the {split} split has fewer than 2 {few}: all of its {len(fold[split])} utterances are "
                f"{value}.{background(corpus)}"
            )
    for names, kind in ((corpus.ids, "utterance"), (corpus.speakers, "speaker or video")):
        split_of: dict[str, str] = {}
        for split in SPLITS:
            for index in fold[split]:
                if split_of.setdefault(names[index], split) != split:
                    raise DataError(
                        f"{place}: {kind} '{names[index]}' is in both the {split_of[names[index]]} and the {split} "
                        "split. Splits must not share any."
                    )


def report(
    corpus: Corpus, settings: CorpusSettings, store: FeatureStore, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the validation report for JSON: sizes, class counts, repairs, warnings, the paper's numbers.

    store: the stored corpus with its variances and repairs. warnings: warnings from writing the store.
    """
    folds = [_describe_fold(store, number) for number in store.folds]
    # The paper's Table 1 counts classes, so it does not apply to scores.
    comparable = not settings.synthetic and settings.target != SCORE
    published = PUBLISHED.get(settings.paper_name or "") if comparable else None
    scores = {"scores": _describe_scores(store.labels)} if settings.target == SCORE else {}
    return {
        "dataset": settings.dataset,
        "layout": settings.layout,
        "utterances": len(store.ids),
        "classes": store.classes,
        "class_counts": _class_counts(store.labels, store.classes),
        **scores,
        "speakers": len(set(store.speakers)),
        "dims": store.dims,
        "lengths": {m: _describe_lengths(np.diff(store.offset(m))) for m in store.modalities},
        "variance": {
            m: {scope: store.variance(m, scope) for scope in ("stored", "valid_frames")} for m in store.modalities
        },
        "folds": folds,
        "repairs": store.repairs,
        "dropped": corpus.dropped,
        "published": published,
        "notes": corpus.notes,
        "warnings": [
            *corpus.warnings,
            *_score_warnings(store),
            *_alike_warnings("Classes", corpus.classes),
            *_alike_warnings("Speakers", dict.fromkeys(corpus.speakers)),
            *_fold_warnings(corpus, settings),
            *_repair_warnings(store.repairs),
            *warnings,
            *(warning for m in store.modalities for warning in _constant_warnings(store, m)),
            *_missing_class_warnings(folds),
            *(_published_warnings(published, folds) if published else []),
        ],
        "sources": store.sources,
    }


def summary(described: Mapping[str, Any]) -> str:
    """Format the report in a few lines. described: the result of :func:`report`."""
    folds = described["folds"]
    compared = _fold_to_compare(folds, described["published"])
    return "\n".join(
        [
            f"{described['dataset']}, layout {described['layout']}: {described['utterances']} utterances, "
            f"{described['speakers']} speakers or videos, {len(folds)} fold{'s' * (len(folds) > 1)}",
            *(f"  {line}" for line in _split_lines(folds[compared], described["published"])),
            *(_modality_line(described, m) for m in described["lengths"]),
            *(f"  note: {note}" for note in described["notes"]),
            *(f"  dropped {count}: {reason}" for reason, count in described["dropped"].items()),
            *(f"  warning: {warning}" for warning in described["warnings"]),
        ]
    )


def _fold_to_compare(folds: list[dict[str, Any]], published: Mapping[str, Any] | None) -> int:
    """Return the index of the fold with the published sizes, else of the first."""
    sizes = [{split: fold[split]["utterances"] for split in SPLITS} for fold in folds]
    return sizes.index(published["sizes"]) if published and published["sizes"] in sizes else 0


def _split_lines(fold: Mapping[str, Any], published: Mapping[str, Any] | None) -> list[str]:
    """Return one line per split: utterances and classes, with the published numbers if there are any."""
    lines = []
    for split in SPLITS:
        counts = ", ".join(f"{name} {count}" for name, count in fold[split]["class_counts"].items())
        if "scores" in fold[split]:
            counts = "scores {min:g} to {max:g}, median {median:g}".format(**fold[split]["scores"])
        paper = f" [paper {published['sizes'][split]}]" if published else ""
        lines.append(f"fold {fold['fold']} {split}: {fold[split]['utterances']}{paper} ({counts})")
    if published:
        names, over = published["class_counts"], published["counted_over"]
        found = {name: sum(fold[split]["class_counts"].get(name, 0) for split in over) for name in names}
        counts = ", ".join(f"{name} {found[name]} [paper {count}]" for name, count in names.items())
        lines.append(f"classes over {' + '.join(over)}: {counts}")
    return lines


def _modality_line(described: Mapping[str, Any], m: str) -> str:
    lengths, variance = described["lengths"][m], described["variance"][m]
    return (
        f"  {m}: {described['dims'][m]} dimensions, {lengths['min']} to {lengths['max']} frames, "
        f"variance {variance['stored']:.4g} (valid frames {variance['valid_frames']:.4g})"
    )


def _class_counts(labels: np.ndarray, classes: list[str]) -> dict[str, int]:
    if not classes:
        return {}
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _describe_scores(scores: np.ndarray) -> dict[str, float]:
    statistics = {"min": scores.min(), "median": np.median(scores), "mean": scores.mean(), "max": scores.max()}
    return {name: round(float(value), 4) for name, value in statistics.items()}


def _score_warnings(store: FeatureStore) -> list[str]:
    values = np.unique(store.labels)
    if store.target != SCORE or len(values) > MAX_CLASS_LIKE_VALUES:
        return []
    listed = ", ".join(f"{value:g}" for value in values)
    return [f"The scores have only {len(values)} values ({listed}): they may be classes. Use real-valued scores."]


def _describe_fold(store: FeatureStore, number: int) -> dict[str, Any]:
    described: dict[str, object] = {"fold": number}
    for split, index in store.fold(number).items():
        counts = _class_counts(store.labels[index], store.classes)
        scores = {"scores": _describe_scores(store.labels[index])} if store.target == SCORE else {}
        described[split] = {"utterances": len(index), "class_counts": counts} | scores
    return described


def _describe_lengths(lengths: np.ndarray) -> dict[str, float]:
    return {"min": int(lengths.min()), "mean": round(float(lengths.mean()), 2), "max": int(lengths.max())}


def _fold_warnings(corpus: Corpus, settings: CorpusSettings) -> list[str]:
    found, stated = len(corpus.folds), settings.folds
    more = f"The corpus has {found} folds, but datasets.{settings.dataset}.folds is {stated}. The others are not run."
    return [more] if found > stated else []


def _alike_warnings(sort: str, names: Iterable[str]) -> list[str]:
    """Warn about names that look the same: their utterances may wrongly be in different classes or splits."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    groups = [found for found in alike.values() if len(found) > 1]
    if not groups:
        return []
    more = f" ({len(groups)} such groups)" if len(groups) > 1 else ""
    named = " and ".join(map(ascii, sorted(groups[0])))
    return [f"{sort} {named} differ only in case, spaces or Unicode form{more}. Use one name if they mean the same."]


def _constant_warnings(store: FeatureStore, m: str) -> list[str]:
    constant, zero = store.constant_dimensions(m), store.zero_utterances(m)
    dimensions = f"Modality {m}: {constant} of {store.dims[m]} dimensions are constant."
    utterances = f"Modality {m}: {zero} of {len(store.ids)} utterances contain only zeros."
    return [dimensions] * bool(constant) + [utterances] * bool(zero)


def _repair_warnings(repairs: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"{count} {kind} values of modality {m} were replaced by 0."
        for m, counts in repairs.items()
        for kind, count in counts.items()
        if count
    ]


def _missing_class_warnings(folds: list[dict[str, Any]]) -> list[str]:
    return [
        f"Fold {fold['fold']}: no item of class {name} in the {split} split."
        for fold in folds
        for split in SPLITS
        for name, count in fold[split]["class_counts"].items()
        if not count
    ]


def _published_warnings(published: Mapping[str, Any], folds: list[dict[str, Any]]) -> list[str]:
    """Return warnings about differences from the paper's Table 1."""
    warnings = []
    fold = folds[_fold_to_compare(folds, published)]
    splits = published["counted_over"]
    names = fold["train"]["class_counts"]
    counts = {name: sum(fold[split]["class_counts"][name] for split in splits) for name in names}
    if counts != published["class_counts"]:
        found, paper = (_list_counts(sizes) for sizes in (counts, published["class_counts"]))
        warnings.append(f"Class counts over {', '.join(splits)} are {found}; the paper has {paper}.")
    sizes = {split: fold[split]["utterances"] for split in SPLITS}
    if sizes != published["sizes"]:
        found, paper = _list_counts(sizes), _list_counts(published["sizes"])
        warnings.append(f"No fold has the published sizes {paper}; fold {fold['fold']} has {found}.")
    return warnings


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
