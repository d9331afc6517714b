"""Inputs drawn by chance, the same for a seed: a tenth of them in every run of the tests, all in `make faults`."""

from collections.abc import Callable

import pytest

from trainables.errors import UserError

__all__ = ["said_of", "seeds_of"]

LONGEST_SENTENCE = 1_000


def seeds_of(n: int) -> pytest.MarkDecorator:
    """A test of the argument `seeds`: the first tenth of n, and all of them in `make faults`."""
    marks = (pytest.mark.faults, pytest.mark.bench, pytest.mark.timeout(3_600))
    return pytest.mark.parametrize("seeds", [range(n // 10), pytest.param(range(n), marks=marks)], ids=str)


def said_of(seed: int, act: Callable[[], object]) -> str | None:
    """What is said of an input that is refused, None of one that is taken; fails on anything but one sentence."""
    try:
        act()
    except UserError as error:
        text = str(error)
        assert "\n" not in text, (seed, text)
        assert 10 < len(text) < LONGEST_SENTENCE, (seed, text)
        return text
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    return None
