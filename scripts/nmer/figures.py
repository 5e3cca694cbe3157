"""The registry of figures, shipped in ``results/figures/`` (one file each) or user-defined, and their possible sources.

A figure is one function from its sources to its data and a matplotlib figure. The decorator declares it with literals,
which the plan reads without importing the file::

    @figure("ranks", position=2, sources=("ranks",), title="Ranks", caption="Average ranks.", alternative="Diagrams.")
    def draw(ranks: Path) -> Drawn: ...

Arguments of the decorator: ``sources``, names from :data:`SOURCES`, each passed as an argument of that name;
``per_dataset``, whether every dataset has its own figure and the function an argument ``dataset`` (default false);
``needs``, keys of an experiment that the figure requires; if one is missing it is not drawn by default;
``target``, ``classes`` or ``score``, if it supports only one of them;
``reads``, the names of :data:`READABLE` that it reads of the source ``settings`` (default: all); a change of any other
does not redraw it;
``title``, ``caption`` and ``alternative``, the texts in the report; ``position`` in the report (default: last).
Keyword-only arguments with a default are options, set in the section ``figures`` of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from nmer.errors import ConfigError, nearest
from nmer.plugins import Declaration, Registry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FILES = ("scores", "chance", "intervals", "comparisons", "ranks", "confusion", "contributions", "sweep")
"""Sources that are one file, passed as a Path: scores, files in ``statistics/``, the table of the sweep."""

LISTS = ("predictions", "histories", "calibration", "points", "distances")
"""Sources that are a list of Paths: of the figure's dataset, or of all datasets if it has none.

predictions: of every evaluation. histories: of the trainings under the reference noise at its outermost levels.
calibration: one file per dataset. points, distances: one file each per panel of Figure 3.
"""

VALUES = ("settings", "schedule")
"""Sources that are not files: the settings of tables and figures, and the keys of the noise schedule."""

READABLE = ("metrics", "conditions", "reference", "all_noisy_snr_db")
"""Fields of ``ReportSettings`` that only some figures read."""

SOURCES = (*FILES, *LISTS, *VALUES)

LAST = 1000
"""Position of a figure that does not declare one."""


class Drawn(NamedTuple):
    """The return value of a figure's function.

    data: the data of the figure, written next to it as CSV. note: a sentence added to the caption. spoken: a sentence
    added to the alternative text, for facts that depend on the data.
    """

    data: pd.DataFrame
    figure: Figure
    note: str = ""
    spoken: str = ""


figures: Registry[Callable[..., Drawn]] = Registry("figure", "figure", "nmer.results.figures")
figure = figures.register


def sources(declaration: Declaration) -> tuple[str, ...]:
    """Return the sources of a figure. Raises ConfigError for a source that does not exist."""
    named = tuple(declaration.attributes.get("sources", ()))
    for source in named:
        if source not in SOURCES:
            raise ConfigError(f"{declaration.file}: unknown source '{source}'. {nearest(source, SOURCES)}")
    return named


def unread(declaration: Declaration) -> tuple[str, ...]:
    """The settings in READABLE that a figure does not read. Raises ConfigError for a name that is not among them."""
    read = tuple(declaration.attributes.get("reads", READABLE))
    for name in read:
        if name not in READABLE:
            raise ConfigError(f"{declaration.file}: unknown name '{name}' in reads. {nearest(name, READABLE)}")
    return tuple(name for name in READABLE if name not in read)


def per_dataset(declaration: Declaration) -> bool:
    """Whether the figure is drawn for each dataset."""
    return bool(declaration.attributes.get("per_dataset", False))


def fits_target(declaration: Declaration, target: str) -> bool:
    """Whether a figure supports experiments with this target, classes or a score."""
    return bool(declaration.attributes.get("target", target) == target)


def position(declaration: Declaration) -> int:
    """Return the position of a figure in the report."""
    place: int = declaration.attributes.get("position", LAST)
    return place
