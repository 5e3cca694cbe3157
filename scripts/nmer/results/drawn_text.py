"""Free text in figures: whether the figures' font can draw it, and text that matplotlib does not parse.

The font ships with matplotlib, so a figure is the same on every machine, but it lacks most scripts.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

from nmer.results.labels import system_label

FONT = "DejaVu Sans"


def can_be_drawn(text: str) -> bool:
    """Whether the font has every character and none must be joined, reordered or combined."""
    return unicodedata.normalize("NFC", text) == text and all(map(_is_simple, text))


def literal(text: str) -> str:
    """Return a text that matplotlib draws as it is. It would parse a pair of dollar signs as mathematics."""
    return text.replace("$", r"\$")


def from_literal(drawn: str) -> str:
    """Return the text of :func:`literal`."""
    return drawn.replace(r"\$", "$")


def drawn_system(system: str) -> str:
    """Return the label of a system for matplotlib: its printed name, or its name if that cannot be drawn.

    Matplotlib leaves labels with a leading underscore out of legends.
    """
    label = system_label(system)
    return literal(label) if can_be_drawn(label) and not label.startswith("_") else system


@cache
def _is_simple(character: str) -> bool:
    # Matplotlib draws one character after another, from left to right.
    joined = unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Cc", "Cs", "Co", "Cn")
    reordered = unicodedata.bidirectional(character) in ("R", "AL", "AN")
    return not joined and not reordered and _font().get_char_index(ord(character)) != 0


@cache
def _font() -> FT2Font:
    return get_font(findfont(FontProperties(family=[FONT])))
