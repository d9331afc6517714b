from html_pages import check_page

from tuner.pages.page import Page, Picture, Table, rendered

NASTY = "<script>alert(1)</script>&\"'"


def page_of(text):
    table = Table(text, (text, text), [(text, text)])
    drawn = '<svg role="img" aria-label="drawn"></svg>'
    return Page(text, text, table, [Picture("drawn", text, drawn, table)], [(text, text)], text, (table,))


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
    assert next(root.all("a")).attributes["href"] == "#evidence"
    assert [heading.tag for heading in root.all("h1", "h2", "h3")] == ["h1", "h2", "h2", "h2"]
    scrolling = [div for div in root.all("div") if div.attributes.get("class") == "scroll"]
    assert [div.attributes["tabindex"] for div in scrolling] == ["0"] * 3
