"""What a page says, and its HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

__all__ = ["Page", "Picture", "Table", "rendered"]


@dataclass(frozen=True)
class Table:
    """Rows of text; numbers stand right of the first column."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A figure. markup: inline SVG, or an <img> whose data are in the page. table: the numbers behind it."""

    name: str
    title: str
    markup: str
    table: Table | None = None


@dataclass(frozen=True)
class Page:
    """lead: the answer in a sentence or two. headline: the table under it. how: what was done, term by term.

    command: repeats it.
    """

    title: str
    lead: str
    headline: Table
    pictures: Sequence[Picture]
    how: Sequence[tuple[str, str]]
    command: str
    further: Sequence[Table] = field(default_factory=tuple)


def rendered(page: Page) -> str:
    """The page as one HTML document; everything but the pictures' markup is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("tuner.pages").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(page=page)
