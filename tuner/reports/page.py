"""What a page says, and its HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from importlib.resources import files
from io import BytesIO, StringIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from trainables.errors import UserError
from tuner.reports.figures.style import GRID, ON_DARK, Drawing, Given
from tuner.reports.glossary import explained

SVG_TEXT = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)
INDEX = "index.html"
TAG = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Table:
    """Rows of text; numbers stand right of the first column."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A figure. caption: how to read it. markup: inline SVG. table: the numbers behind it."""

    name: str
    title: str
    caption: str
    markup: str
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of the evidence. text: what was asked, and how it was answered."""

    title: str
    text: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """lead: the answer in a sentence or two. headline: the table under it. how: what was done, term by term.

    command: repeats it, or writes the page again. repeats: what it does.
    """

    title: str
    lead: str
    headline: Table
    sections: Sequence[Section]
    how: Sequence[tuple[str, str]]
    command: str
    repeats: str = "Repeat it"


def write_page(page: Page, answer: Mapping[str, object], folder: Path) -> Path:
    """index.html and answer.json in a folder; returns the page's path."""
    (folder / "answer.json").write_text(json.dumps(answer, indent=1), encoding="utf-8")
    (folder / INDEX).write_text(rendered(page), encoding="utf-8")
    return folder / INDEX


def rendered(page: Page) -> str:
    """The page as one HTML document; everything but the pictures' markup is escaped.

    Words and symbols are explained in the part that uses them first.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("tuner.reports").joinpath("page.html").read_text(encoding="utf-8")
    blocks = [_opening(page), *map(_texts, page.sections), (text for pair in page.how for text in pair)]
    first, *others, last = explained([list(block) for block in blocks])
    sections = list(zip(page.sections, others, strict=True))
    return environment.from_string(template).render(
        page=page, first=first, sections=sections, last=last, on_dark=ON_DARK
    )


def _opening(page: Page) -> Iterator[str]:
    yield from (page.title, page.lead)
    yield from _cells(page.headline)


def _texts(section: Section) -> Iterator[str]:
    yield from (section.title, section.text)
    for picture in section.pictures:
        yield from (picture.title, picture.caption)
        yield from (unescape(TAG.sub("", text)) for text in SVG_TEXT.findall(picture.markup))
        if picture.table:
            yield from _cells(picture.table)
    for table in section.tables:
        yield from _cells(table)


def _cells(table: Table) -> Iterator[str]:
    yield table.caption
    yield from table.head
    for row in table.rows:
        yield from row


BLACK = re.compile(r"(?<=[ \"])(fill|stroke): #(?:000000|333333|666666)")


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure whose text stays text, in the colour of the page's, with ids that are its own; described by the element
    `NAME-caption`. Colours that a dark ground needs otherwise are the page's variables."""
    buffer = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = BLACK.sub(r"\1: currentColor", svg).replace(to_hex(GRID), "#88888840")
    for colour in ON_DARK:
        svg = svg.replace(colour.lower(), f"var(--{colour.lower()[1:]})")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'url\(#([^)]+)\)|href="#([^"]+)"', lambda found: _own_reference(found, name), svg)
    label = f'role="img" aria-label="{escape(title, quote=True)}" aria-describedby="{name}-caption" fill="currentColor"'
    return svg.replace("<svg ", f"<svg {label} ", 1)


def _own_reference(found: re.Match[str], name: str) -> str:
    return f"url(#{name}-{found[1]})" if found[1] else f'href="#{name}-{found[2]}"'


def pictures_of(
    drawings: Mapping[str, Drawing[Given]],
    folder: Path,
    behind: Callable[[str], Table | None],
    *given: Given.args,
    **named: Given.kwargs,
) -> dict[str, Picture]:
    """The figures that have something to show, each as PNG in the folder and as a picture of the page.

    behind: the numbers behind a figure, by its name. given, named: what the figures are drawn of.
    """
    found = {}
    for name, drawing in drawings.items():
        if (figure := drawing.draw(*given, **named)) is not None:
            found[name] = picture(figure, name, drawing.title, drawing.caption, folder, behind(name))
    return found


def picture(figure: Figure, name: str, title: str, caption: str, folder: Path, table: Table | None = None) -> Picture:
    """A figure as PNG in the folder and as a picture of the page."""
    save_png(figure, folder / f"{name}.png")
    return Picture(name, title, caption, inline_svg(figure, name, title), table)


def save_png(figure: Figure, path: Path) -> None:
    """Raises UserError where the file cannot be written."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder") from None
