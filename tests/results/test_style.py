"""What all figures share: colours, contrast, names, and files that can be printed anywhere."""

import re
import zlib
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nmer.names import SYSTEM_LABELS
from nmer.results.style import SHADES, ink_on, save_figure, sentence_figure, system_styles, wrapped


def luminance(color):
    """Relative luminance as WCAG 2.1 defines it, over arrays."""
    parts = np.array(to_rgb(color))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_system_looks_the_same_whoever_stands_beside_it():
    few, many = system_styles(["nmer", "men"]), system_styles(["men", "mmin", "mine", "yours", "nmer"])
    assert few["nmer"] == many["nmer"]
    assert len({(style.color, style.marker) for style in many.values()}) == len(many)


def test_the_papers_seven_systems_and_ten_of_ones_own_are_told_apart_by_colour_and_marker():
    own = [f"mine_{number}" for number in range(10)]
    styles = system_styles([*own, *SYSTEM_LABELS])
    assert list(styles) == [*SYSTEM_LABELS, *own]
    assert len({(style.color, style.marker) for style in styles.values()}) == 17
    assert not {styles[name].color for name in own} & {styles[name].color for name in SYSTEM_LABELS}
    assert not {styles[name].marker for name in own} & {styles[name].marker for name in SYSTEM_LABELS}


@pytest.mark.parametrize("color", ["#000000", "#ffffff", "#777777", "#ff0000", "#00ff00", "#0000ff"])
def test_ink_is_the_better_of_black_and_white(color):
    assert contrast(color, ink_on(color)) == max(contrast(color, "black"), contrast(color, "white")) >= 4.5


def test_every_shade_of_a_cell_is_darker_in_grey_than_the_one_before_and_bears_its_ink():
    shades = [matplotlib.colormaps[SHADES](step) for step in np.linspace(0, 1, 101)]
    assert all(luminance(light) > luminance(dark) for light, dark in pairwise(shades))
    assert all(contrast(shade, ink_on(shade)) >= 4.5 for shade in shades)


def test_long_names_are_broken_after_underscores_and_lose_no_letter():
    assert wrapped("w/o L_inv") == "w/o L_inv"
    assert wrapped("a_rather_long_name_of_my_own") == "a_rather_long_\nname_of_my_own"
    assert wrapped("x" * 30).replace("\n", "") == "x" * 30
    assert max(map(len, wrapped("x" * 30).split("\n"))) <= 14


def test_the_pdf_embeds_its_font_as_outlines_that_can_be_searched(tmp_path):
    save_figure(sentence_figure("A sentence."), tmp_path / "figure")
    content = (tmp_path / "figure.pdf").read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    text = content + b"".join(zlib.decompress(stream) for stream in streams if stream[:1] == b"\x78")
    assert b"/FontFile2" in text, "TrueType, embedded"
    assert b"/Type3" not in text
