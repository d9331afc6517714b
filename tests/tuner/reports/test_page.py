import re

import pytest
from html_pages import check_page
from wcag import contrast

from tuner.reports.figures.style import COLOURS, ON_DARK
from tuner.reports.page import Page, Picture, Section, Table, rendered

NASTY = "<script>alert(1)</script>&\"'"
TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2: 1.4.3 and 1.4.11


def page_of(text):
    table = Table(text, (text, text), [(text, text)])
    drawn = '<svg role="img" aria-label="{}" aria-describedby="drawn-caption"></svg>'
    shown = Picture("drawn", text, text, drawn.format(text.replace("&", "&amp;").replace('"', "&quot;")), table)
    return Page(text, text, table, [Section(text, text, [shown], [table])], [(text, text)], text, text)


def colours_of(root, dark):
    """The style's variables under a theme."""
    style = root.one("style").text
    found = re.findall(r":root \{(.*?)\}", style)
    assert len(found) == 2
    declared = "".join(found if dark else found[:1])
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", declared))


def test_whatever_a_page_says_is_text():
    root = check_page(rendered(page_of(NASTY)))
    assert root.one("title").text == root.one("h1").text == root.one("code").text == NASTY
    assert [table.rows() for table in root.all("table")] == [[[NASTY, NASTY]]] * 3
    assert {element.text for element in root.all("caption", "figcaption", "dt", "dd", "td")} == {NASTY}
    assert all(region.attributes["aria-label"] == NASTY for region in root.all("div") if "role" in region.attributes)


def test_the_page_forbids_what_it_does_not_hold():
    root = check_page(rendered(page_of("x")))
    (policy,) = [meta for meta in root.all("meta") if "http-equiv" in meta.attributes]
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_a_reader_without_a_mouse_gets_everywhere():
    root = check_page(rendered(page_of("x")))
    assert root.one("html").attributes["lang"] == "en"
    assert [link.attributes["href"] for link in root.all("a")] == ["#x", "#x", "#how"]
    assert [heading.tag for heading in root.all("h1", "h2", "h3")] == ["h1", "h2", "h3", "h2", "h3"]
    scrolling = [div for div in root.all("div") if div.attributes.get("class") == "scroll"]
    assert [div.attributes["tabindex"] for div in scrolling] == ["0"] * 3


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_figures_stand_out_from_their_ground(dark):
    colours = colours_of(check_page(rendered(page_of("x"))), dark)
    for ground in ("ground", "tint"):
        for text in ("text", "faint", "link"):
            assert contrast(colours[text], colours[ground]) >= TEXT, (text, ground)
    for colour in COLOURS:
        shown = colours.get(colour[1:].lower(), colours["text"] if colour == "#000000" else colour)
        assert contrast(shown, colours["ground"]) >= GRAPHIC, colour


def test_the_colours_that_change_with_the_theme_are_the_styles():
    root = check_page(rendered(page_of("x")))
    for light, dark in ON_DARK.items():
        assert colours_of(root, False)[light[1:].lower()] == light.lower()
        assert colours_of(root, True)[light[1:].lower()] == dark.lower()


def test_a_word_is_explained_in_the_part_that_uses_it_first_and_only_there():
    page = Page("t", "KL", Table("c", ("h",), [("r",)]), [Section("s", "KL and λ̂"), Section("u", "λ̂")], [], "x")
    root = check_page(rendered(page))
    explained = [[term.text for term in words.all("dt")] for words in root.all("details")]
    assert "KL" in explained[0]
    assert "λ̂" not in explained[0]
    assert "λ̂" in explained[1]
    assert "KL" not in explained[1]
    assert len(explained) == 2
