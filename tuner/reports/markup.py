"""Figures as inline SVG that follows the page's colours, and as files; pictures as data in the page."""

from __future__ import annotations

import re
from html import escape
from io import BytesIO, StringIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from trainables.errors import UserError
from tuner.reports.figures.style import GRID, ON_DARK

__all__ = ["inline_svg", "save_png"]

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


def save_png(figure: Figure, path: Path) -> None:
    """Raises UserError where the file cannot be written."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder") from None
