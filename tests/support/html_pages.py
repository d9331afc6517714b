"""A page as its elements, and what every page of this project keeps to."""

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

from tuner.reports.glossary import TERMS

VOID = {"meta", "link", "img", "br", "input"}


@dataclass
class Element:
    """A tag, its attributes, and what lies in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list, repr=False)
    parts: list[str] = field(default_factory=list, repr=False)

    @property
    def text(self):
        return " ".join("".join(self._texts()).split())

    def _texts(self):
        for part in self.parts:
            yield from part._texts() if isinstance(part, Element) else [part]

    def all(self, *tags):
        """The elements below of these tags, in their order; of any tag where none is named."""
        for child in self.children:
            if not tags or child.tag in tags:
                yield child
            yield from child.all(*tags)

    def one(self, tag):
        (found,) = self.all(tag)
        return found

    def rows(self):
        """Of a table the texts of its cells."""
        return [[cell.text for cell in row.all("th", "td")] for row in self.one("tbody").all("tr")]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self._open[-1].children.append(element)
        self._open[-1].parts.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open[-1].tag == tag, f"</{tag}> ends <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data):
        self._open[-1].parts.append(data)


def parsed(text):
    """Every element is closed in its order."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.root


def check_page(text):
    """Self-contained, without scripts, readable aloud; returns its elements."""
    root = parsed(text)
    check_nothing_is_fetched(text, root)
    check_references(text, root)
    check_tables(root)
    check_figures(root)
    check_headings(root)
    check_words(root)
    return root


def check_nothing_is_fetched(text, root):
    assert not list(root.all("script", "iframe", "object", "embed", "video", "audio", "form", "base"))
    assert not re.search(r"@import|\bon[a-z]+=", text)
    for element in root.all():
        for name, value in element.attributes.items():
            if not name.startswith("xmlns"):
                assert not re.search(r"[a-z]+://|^//", value or ""), (element.tag, name, value)
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("data:", "#")), (element.tag, name, value)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)\)", text))


def check_references(text, root):
    ids = Counter(element.attributes["id"] for element in root.all() if "id" in element.attributes)
    assert max(ids.values()) == 1
    referred = {element.attributes.get(name, "") for element in root.all() for name in ("href", "xlink:href")}
    referred |= set(re.findall(r"url\((#[^)]*)\)", text))
    assert {name[1:] for name in referred if name.startswith("#")} <= ids.keys()


def check_tables(root):
    for table in root.all("table"):
        assert table.one("caption").text
        assert all(cell.attributes["scope"] == "col" for cell in table.one("thead").all("th"))
        for row in table.one("tbody").all("tr"):
            cells = list(row.all("th", "td"))
            assert [cell.attributes.get("scope") for cell in cells] == ["row", *[None] * (len(cells) - 1)]
            assert len(cells) == len(list(table.one("thead").all("th")))


def check_figures(root):
    for figure in root.all("figure"):
        assert figure.one("figcaption").text
        (drawn,) = figure.all("svg")
        assert (drawn.attributes["role"], drawn.attributes["aria-label"]) == ("img", figure.one("h3").text)
        assert drawn.attributes["aria-describedby"] == figure.one("figcaption").attributes["id"]


def check_headings(root):
    """One of the first order, and none that skips an order."""
    orders = [int(heading.tag[1]) for heading in root.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert orders[0] == 1
    assert orders.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(orders))


SYMBOL = re.compile(
    r"[α-ωΑ-Ω]\u0302?(?:_\w+|\*)?|(?<![\w.:-])(?:val|test)/\w+|(?<![\w./-])agg_\w+|\b(?:J|KL|ELBO|GECO|Holm)\b"
    r"|\b(?:equivalent|undecided|unsettled|unmet|infeasible|slack|saturated|hypergeometric|pruned|diverged|rungs?)\b"
)


def check_words(root):
    """Every symbol and every word of the trade is explained in the part that uses it first, or before."""
    explained = set()
    parts = [
        [child for child in root.one("main").children if child.tag != "section"],
        *[[s] for s in root.all("section")],
    ]
    for part in parts:
        explained |= {term.name for element in part for term in TERMS if term.name in _words(element)}
        for element in part:
            for used in SYMBOL.findall(_text_without_code(element)):
                known = any(term.is_in(used) for term in TERMS if term.name in explained)
                assert known, f"{used} is used and not explained"


def _words(element):
    lists = [each for each in (element, *element.all("details")) if each.attributes.get("class") == "words"]
    return {name.text for words in lists for name in words.all("dt")}


def _text_without_code(element):
    return (
        ""
        if element.tag == "code"
        else " ".join(_text_without_code(part) if isinstance(part, Element) else part for part in element.parts)
    )
