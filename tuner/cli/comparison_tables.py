"""What a comparison's answer looks like in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.cli.console import new_table, out, print_json, print_notes

if TYPE_CHECKING:
    from tuner.reports.page import Table
    from tuner.reports.sweeps_page import Shown
    from tuner.running.comparisons import Compared


def show(found: Compared, output: str) -> None:
    """The answer, its table, and where the page is; or one JSON document."""
    if output == "json":
        print_json(found.document())
        return
    from tuner.comparison.answer import RANKED
    from tuner.reports.comparison_page import headline

    verdict, rates = found.comparison.verdict, found.comparison.design.rates_in_use
    notes = [f"learning rates: {rates}", RANKED]
    _print(f"{verdict[0].upper()}{verdict[1:]}", headline(found.comparison), found.page, notes)


def show_sweeps(shown: Shown, output: str) -> None:
    """What the sweeps found side by side, and where the page is; or one JSON document."""
    if output == "json":
        print_json(shown.document())
        return
    from tuner.reports.sweeps_page import headline, lead

    _print(lead(shown.beside), headline(shown.beside), shown.page)


def _print(lead: str, content: Table, page: Path, notes: Sequence[str] = ()) -> None:
    console = out()
    console.print(f"{lead}\n", soft_wrap=True)
    console.print(new_table(*content.head, rows=content.rows, title=content.caption))
    print_notes(console, notes)
    console.print(f"\nReport: {page}", soft_wrap=True)
