"""What all figures share: colours, contrast, names, and files that can be printed anywhere."""

from itertools import pairwise

import numpy as np
import pandas as pd
from drawn import contrast, luminance, pdf_text

from nmer.results.labels import SYSTEM_LABELS
from nmer.results.style import SHADES, save_figure, sentence_figure, system_styles, wrapped


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


def test_every_shade_of_a_cell_is_darker_in_grey_than_the_one_before_and_bears_black_numbers():
    shades = [SHADES(step) for step in np.linspace(0, 1, 101)]
    assert all(luminance(light) > luminance(dark) for light, dark in pairwise(shades))
    assert all(contrast(shade, "black") >= 4.5 for shade in shades)


def test_long_names_are_broken_after_underscores_and_lose_no_letter():
    assert wrapped("w/o L_inv") == "w/o L_inv"
    assert wrapped("a_rather_long_name_of_my_own") == "a_rather_long_\nname_of_my_own"
    assert wrapped("x" * 30).replace("\n", "") == "x" * 30
    assert max(map(len, wrapped("x" * 30).split("\n"))) <= 14


def test_the_pdf_embeds_its_font_as_outlines_that_can_be_searched(tmp_path):
    save_figure(sentence_figure("A sentence."), pd.DataFrame(), tmp_path / "figure")
    text = pdf_text(tmp_path / "figure.pdf")
    assert b"/FontFile2" in text, "TrueType, embedded"
    assert b"/Type3" not in text
