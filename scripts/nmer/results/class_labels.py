"""Class names in figures: as text where the figures' font can draw them, else as numbers with a legend.

Class names are the only names that may hold any text; the others are plain ASCII by the configuration's schema. The
font ships with matplotlib, so that a figure is the same on every machine; it lacks most scripts of the world.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

from nmer.results.style import SETTINGS

LONGEST = 40
"""Letters of a name beyond which it would leave no room for the figure."""


def drawn_labels(classes: Iterable[str]) -> dict[str, str]:
    """Class name -> what a figure draws for it, for matplotlib. classes: in label order.

    A name that cannot be drawn becomes its number, ``#1`` for the first class.
    """
    names = list(classes)
    mark = "#"
    while any(name.startswith(mark) for name in names):
        mark += "#"
    # A pair of dollar signs would be read as mathematics.
    return {
        name: name.replace("$", r"\$") if _can_be_drawn(name) else f"{mark}{number}"
        for number, name in enumerate(names, start=1)
    }


def legend(classes: Iterable[str]) -> str:
    """A sentence on the numbers that a figure draws in place of names; empty if it draws none."""
    numbered = [f"{label} is {name}" for name, label in drawn_labels(classes).items() if not _can_be_drawn(name)]
    return f"Class names that the figure's font cannot draw are numbered: {'; '.join(numbered)}." if numbered else ""


def _can_be_drawn(name: str) -> bool:
    """Whether the font has every character, and none has to be joined, reordered or placed on another."""
    plain = unicodedata.normalize("NFC", name)
    return plain == name and len(name) <= LONGEST and all(_is_simple(character) for character in name)


@cache
def _is_simple(character: str) -> bool:
    # matplotlib draws one character after the other, from left to right.
    joined = unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Cc", "Cs", "Co", "Cn")
    reordered = unicodedata.bidirectional(character) in ("R", "AL", "AN")
    return not joined and not reordered and _font().get_char_index(ord(character)) != 0


@cache
def _font() -> FT2Font:
    return get_font(findfont(FontProperties(family=[str(SETTINGS["font.family"])])))
