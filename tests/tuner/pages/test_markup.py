import base64
import re

import numpy as np
import pytest
from html_pages import check_references, parsed
from PIL import Image

from trainables.errors import UserError
from tuner.figures.style import style_axes, wide_figure
from tuner.pages.markup import inline_png, inline_svg, save_png


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


def test_only_a_figure_of_two_panels_may_be_scrolled():
    classes = [parsed(inline_svg(figure(n), "f", "F")).one("svg").attributes.get("class") for n in (1, 2)]
    assert classes == [None, "wide"]


def test_a_picture_is_its_bytes_and_its_description(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "p.png")
    image = parsed(inline_png(tmp_path / "p.png", 'of "x"')).one("img")
    assert image.attributes["alt"] == 'of "x"'
    kind, data = image.attributes["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (tmp_path / "p.png").read_bytes()


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"none/f\.png cannot be written: No such file or directory; choose another"):
        save_png(figure(), tmp_path / "none" / "f.png")
