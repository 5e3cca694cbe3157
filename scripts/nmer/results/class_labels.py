"""Labels of classes in figures: their names if the figures' font can draw them, else numbers with a legend.

Class names may contain any text.
"""

from __future__ import annotations

from collections.abc import Iterable

from nmer.results.drawn_text import can_be_drawn, literal

LONGEST = 40
"""Longest name, in letters, that leaves space for the figure."""


def drawn_labels(classes: Iterable[str]) -> dict[str, str]:
    """Return class name -> its label for matplotlib. classes: in label order.

    The label of a name that cannot be drawn is its number, ``#1`` for the first class.
    """
    names = list(classes)
    mark = "#"
    while any(name.startswith(mark) for name in names):
        mark += "#"
    return {
        name: literal(name) if _can_be_drawn(name) else f"{mark}{number}" for number, name in enumerate(names, start=1)
    }


def legend(classes: Iterable[str]) -> str:
    """Return a sentence that explains the numbers in a figure; empty if it has none."""
    numbered = [f"{label} is {name}" for name, label in drawn_labels(classes).items() if not _can_be_drawn(name)]
    return f"Class names that the figure's font cannot draw are numbered: {'; '.join(numbered)}." if numbered else ""


def _can_be_drawn(name: str) -> bool:
    return len(name) <= LONGEST and can_be_drawn(name)
