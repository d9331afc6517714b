import re

import pytest
from html_pages import check_references, parsed

from trainables.errors import UserError
from tuner.reports.figures.style import ON_DARK, style_axes, wide_figure
from tuner.reports.page import inline_svg, save_png


def figure(n_panels=1):
    made, panels = wide_figure(n_panels)
    for axes in panels:
        style_axes(axes, "x < y", "nats & bits")
        axes.plot([1, 2], [1, 3], "o-", color="#000000", label="all")
        axes.axhline(2, color="0.4")
        axes.legend()
    return made


def test_text_and_axes_take_the_colour_of_the_page():
    svg = inline_svg(figure(), "f", "F")
    assert not re.search(r"#(000|000000|333333|666666)\b", svg)
    assert "#e6e6e6" not in svg, "the grid is as bright as on white"
    assert "currentColor" in svg
    assert 'fill="currentColor"' in svg[: svg.index(">")]


def test_text_stays_text_and_is_escaped():
    root = parsed(inline_svg(figure(), "f", '<b> & "F"'))
    assert {"x < y", "nats & bits", "all"} <= {text.text for text in root.all("text")}
    assert root.one("svg").attributes["aria-label"] == '<b> & "F"'


def test_figures_on_one_page_share_no_id_and_find_their_own():
    both = inline_svg(figure(2), "one", "1") + inline_svg(figure(2), "two", "2")
    check_references(both, parsed(both))


def test_a_figure_is_the_same_text_each_time():
    assert inline_svg(figure(), "f", "F") == inline_svg(figure(), "f", "F")


def test_a_figure_is_named_and_described_by_its_caption():
    svg = parsed(inline_svg(figure(), "f", "F")).one("svg")
    assert (svg.attributes["role"], svg.attributes["aria-label"]) == ("img", "F")
    assert svg.attributes["aria-describedby"] == "f-caption"


@pytest.mark.parametrize("colour", ON_DARK)
def test_a_colour_too_dark_for_a_dark_page_is_the_pages_to_choose(colour):
    made, [axes] = wide_figure()
    axes.plot([1, 2], [1, 3], "o-", color=colour)
    svg = inline_svg(made, "f", "F")
    assert colour.lower() not in svg
    assert f"stroke: var(--{colour.lower()[1:]})" in svg


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"none/f\.png cannot be written: No such file or directory; choose another"):
        save_png(figure(), tmp_path / "none" / "f.png")
