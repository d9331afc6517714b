"""Figures as inline SVG that follows the page's colours, and as files; pictures as data in the page."""

from __future__ import annotations

import base64
import re
from html import escape
from io import BytesIO, StringIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from trainables.errors import UserError
from tuner.figures.style import GRID

__all__ = ["inline_png", "inline_svg", "save_png"]

BLACK = re.compile(r"(?<=[ \"])(fill|stroke): #(?:000000|333333|666666)")
WIDE = 8.0  # inches, two panels


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure whose text stays text, in the colour of the page's, with ids that are its own; a wide one is of class
    `wide`, so that a narrow page may scroll it."""
    buffer = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = BLACK.sub(r"\1: currentColor", svg).replace(to_hex(GRID), "#88888840")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'url\(#([^)]+)\)|href="#([^"]+)"', lambda found: _own_reference(found, name), svg)
    label = f'role="img" aria-label="{escape(title, quote=True)}" fill="currentColor"'
    label += ' class="wide"' if figure.get_figwidth() > WIDE else ""
    return svg.replace("<svg ", f"<svg {label} ", 1)


def _own_reference(found: re.Match[str], name: str) -> str:
    return f"url(#{name}-{found[1]})" if found[1] else f'href="#{name}-{found[2]}"'


def inline_png(path: Path, description: str) -> str:
    """A picture's file as an <img> that holds its data."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(description, quote=True)}">'


def save_png(figure: Figure, path: Path) -> None:
    """Raises UserError where the file cannot be written."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder") from None
