"""Measure a drawn figure as a reader sees it: page size, texts, contrast."""

from __future__ import annotations

import itertools
import re
import zlib
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure


def luminance(color) -> float:
    """Return the relative luminance of a colour as WCAG 2.1 defines it."""
    parts = np.array(to_rgb(color))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(one, other) -> float:
    """Return the contrast ratio of two colours, 1 to 21, as WCAG 2.1 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def cells(axis) -> dict[tuple[int, int], tuple[str, float]]:
    """Return the text of each heat map cell and its contrast to the cell: (row, column) -> (text, contrast)."""
    (image,) = axis.images
    shades = image.get_array()
    places = {(round(text.get_position()[1]), round(text.get_position()[0])): text for text in axis.texts}
    return {place: (text.get_text(), contrast(text.get_color(), shades[place][:3])) for place, text in places.items()}


def lines(axis) -> dict:
    """Return the lines of a panel by their names in the legend."""
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def assert_inside(figure: Figure) -> None:
    """Assert that nothing is drawn beyond the edge of the page."""
    figure.draw_without_rendering()
    box, page = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= page[0] + 0.01
    assert box.y1 <= page[1] + 0.01


def assert_labels_apart(axis) -> None:
    """Assert that the names of the rows of a heat map do not overlap, and that one of them is wrapped."""
    axis.figure.draw_without_rendering()
    names = axis.get_yticklabels()
    assert any("\n" in name.get_text() for name in names)
    boxes = [name.get_window_extent() for name in names]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def pdf_text(path: Path) -> bytes:
    """Return a PDF with its compressed streams unpacked."""
    content = path.read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    # A decompression object, because a last byte that looks like a line end is cut off, which `decompress` rejects.
    return content + b"".join(zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"\x78")


def assert_same_files(one: Path, two: Path) -> None:
    """Assert that two stems have the same pictures, with embedded TrueType fonts, and the same data."""
    for suffix in (".png", ".pdf", ".csv"):
        assert one.with_name(one.name + suffix).read_bytes() == two.with_name(two.name + suffix).read_bytes()
    text = pdf_text(one.with_name(one.name + ".pdf"))
    assert b"/FontFile2" in text
    assert b"/Type3" not in text
