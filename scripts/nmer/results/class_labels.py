"""Labels of classes in figures: their names if the figures' font can draw them, else numbers with a legend.

Only class names may contain any text; the schema of the configuration restricts the other names to ASCII. The font
ships with matplotlib, so a figure is the same on every machine, but it lacks most scripts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

from nmer.results.style import SETTINGS

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
    # Matplotlib would parse a pair of dollar signs as mathematics.
    return {
        name: name.replace("$", r"\$") if _can_be_drawn(name) else f"{mark}{number}"
        for number, name in enumerate(names, start=1)
    }


def legend(classes: Iterable[str]) -> str:
    """Return a sentence that explains the numbers in a figure; empty if it has none."""
    numbered = [f"{label} is {name}" for name, label in drawn_labels(classes).items() if not _can_be_drawn(name)]
    return f"Class names that the figure's font cannot draw are numbered: {'; '.join(numbered)}." if numbered else ""


def _can_be_drawn(name: str) -> bool:
    """Whether the font has every character and none must be joined, reordered or combined."""
    plain = unicodedata.normalize("NFC", name)
    return plain == name and len(name) <= LONGEST and all(_is_simple(character) for character in name)


@cache
def _is_simple(character: str) -> bool:
    # Matplotlib draws one character after another, from left to right.
    joined = unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Cc", "Cs", "Co", "Cn")
    reordered = unicodedata.bidirectional(character) in ("R", "AL", "AN")
    return not joined and not reordered and _font().get_char_index(ord(character)) != 0


@cache
def _font() -> FT2Font:
    return get_font(findfont(FontProperties(family=[str(SETTINGS["font.family"])])))
