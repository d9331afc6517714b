from itertools import combinations

import pytest
from wcag import SEEN, difference

from tuner.reports.figures.style import COLOURS, LINES, MARKERS, ON_DARK

LIGHT = COLOURS[:6]
DARK = [{**ON_DARK, "#000000": "#e8e8ec"}.get(colour, colour) for colour in LIGHT]


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_the_methods_of_a_comparison_differ_in_colour_for_all_eyes(eyes, colours):
    for one, other in combinations(colours, 2):
        assert difference(one, other, eyes) > 15, (one, other)


def test_no_two_methods_share_a_mark_or_a_dash():
    assert len(set(COLOURS)) == len(set(LINES)) == len(COLOURS) == len(LINES)
    assert len(set(MARKERS)) == len(MARKERS) >= len(COLOURS)
