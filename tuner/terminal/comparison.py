"""What a comparison's answer looks like in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.terminal.console import new_table, out, print_json

if TYPE_CHECKING:
    from tuner.comparison.comparing import Compared

__all__ = ["show"]


def show(found: Compared, output: str) -> None:
    """The answer, its table, and where the page is; or one JSON document."""
    if output == "json":
        print_json(found.document())
        return
    from tuner.pages.comparison_page import headline

    content = headline(found.comparison)
    table = new_table(*content.head, title=content.caption)
    for row in content.rows:
        table.add_row(*row)
    console = out()
    verdict = found.comparison.verdict
    console.print(f"{verdict[0].upper()}{verdict[1:]}\n", soft_wrap=True)
    console.print(table)
    console.print(f"\nReport: {found.page}", soft_wrap=True)
