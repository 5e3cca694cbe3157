"""All figures share colours, contrast and names, and their files print anywhere."""

from itertools import pairwise

import matplotlib
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from drawn import contrast, luminance, pdf_text
from matplotlib.figure import Figure

from nmer.names import PAPER_SYSTEMS
from nmer.references.registry import REFERENCES
from nmer.results.labels import SYSTEM_LABELS
from nmer.results.style import (
    SETTINGS,
    SHADES,
    WIDTH,
    name_places,
    read_curves,
    save_figure,
    sentence_figure,
    system_styles,
    wrapped,
)


def test_the_style_of_a_system_does_not_depend_on_other_systems():
    few, many = system_styles(["nmer", "men"]), system_styles(["men", "mmin", "mine", "yours", "nmer"])
    assert few["nmer"] == many["nmer"]
    assert len({(style.color, style.marker) for style in many.values()}) == len(many)


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_looks_the_same_in_every_figure_and_unlike_custom_systems(reference):
    """Figures of ranks leave out constant predictions, which must not change the style of the others."""
    custom = [f"mine_{number}" for number in range(18)]
    style = system_styles(["nmer", reference])[reference]
    everything = system_styles([*custom, "unimodal_a", *REFERENCES])
    assert everything[reference] == style
    assert len({(everything[name].color, everything[name].marker) for name in custom}) == 18
    assert (style.color, style.marker) not in {(everything[name].color, everything[name].marker) for name in custom}


def test_shipped_systems_and_ten_custom_ones_differ_in_colour_and_marker():
    custom = [f"mine_{number}" for number in range(10)]
    styles = system_styles([*custom, *SYSTEM_LABELS])
    compared = [name for name in SYSTEM_LABELS if name not in PAPER_SYSTEMS]
    assert list(styles) == [*PAPER_SYSTEMS, *custom, *compared]
    assert len({(style.color, style.marker) for style in styles.values()}) == 21
    assert not {styles[name].color for name in custom} & {styles[name].color for name in SYSTEM_LABELS}
    assert not {styles[name].marker for name in custom} & {styles[name].marker for name in SYSTEM_LABELS}


def test_cell_shades_get_darker_in_grey_and_black_numbers_stay_legible():
    shades = [SHADES(step) for step in np.linspace(0, 1, 101)]
    assert all(luminance(light) > luminance(dark) for light, dark in pairwise(shades))
    assert all(contrast(shade, "black") >= 4.5 for shade in shades)


def test_long_names_are_broken_after_underscores_and_lose_no_letter():
    assert wrapped("w/o L_inv") == "w/o L_inv"
    assert wrapped("a_rather_long_name_of_my_own") == "a_rather_long_\nname_of_my_own"
    assert wrapped("x" * 30).replace("\n", "") == "x" * 30
    assert max(map(len, wrapped("x" * 30).split("\n"))) <= 14


def test_the_pdf_embeds_its_font_as_searchable_outlines(tmp_path):
    save_figure(sentence_figure("A sentence."), pd.DataFrame(), tmp_path / "figure")
    text = pdf_text(tmp_path / "figure.pdf")
    assert b"/FontFile2" in text, "TrueType, embedded"
    assert b"/Type3" not in text


def test_the_hover_points_match_the_points_in_the_png(tmp_path):
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 3), layout="constrained")
        axis = figure.subplots()
        axis.plot([-10, -20, -40], [0.7, 0.6, float("nan")], color="#ff0000", marker="o", label="mine")
        axis.set_xticks([-10, -20, -40], ["−10", "−20", "−40"])
        axis.set_xlabel("SNR in dB (more noise to the right)")
    save_figure(figure, pd.DataFrame(), tmp_path / "figure")
    (curve,) = read_curves(figure)
    assert curve["label"] == "mine"
    assert [point[2:] for point in curve["points"]] == [["SNR in dB −10", "0.7"], ["SNR in dB −20", "0.6"]]
    image = matplotlib.image.imread(tmp_path / "figure.png")
    for x, y, *_texts in curve["points"]:
        pixel = image[round(y * image.shape[0]), round(x * image.shape[1]), :3]
        assert pixel.tolist() == [1, 0, 0]


def test_a_bar_is_named_once_when_its_tick_is_its_name():
    figure = Figure()
    axis = figure.subplots()
    axis.bar([0], [0.5], label="my_system")
    axis.set_xticks([0], ["my_\nsystem"])
    (curve,) = read_curves(figure)
    assert curve["points"][0][2:] == ["", "0.5"]


@pytest.mark.parametrize("count", [3, 6, 8, 14])
def test_slanted_names_have_the_lines_that_fit_and_keep_both_ends(count):
    ends = [f"rate 0.{number}" for number in range(count)]
    axis = Figure().subplots()
    name_places(axis, [f"a rather long name of a system with $2\\$ letters, learning {end}" for end in ends], 3.0)
    names = axis.get_xticklabels()
    for name, end in zip(names, ends, strict=True):
        text = " ".join(name.get_text().split("\n"))
        assert text.startswith("a rath")
        assert text.endswith(end[-5:])
    most = max(name.get_text().count("\n") + 1 for name in names)
    if count > 3:
        assert {name.get_rotation() for name in names} == {45}
        assert most == 1 or most * 0.12 <= 3.0 / count * 0.7072


def test_short_names_are_side_by_side():
    axis = Figure().subplots()
    name_places(axis, ["0.01", "0.1", "1", "10", "100", "1000"], 3.0)
    assert [name.get_text() for name in axis.get_xticklabels()] == ["0.01", "0.1", "1", "10", "100", "1000"]
    assert {name.get_rotation() for name in axis.get_xticklabels()} == {0}
