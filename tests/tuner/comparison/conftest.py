"""Comparisons of drawn runs, stage by stage or whole."""

import comparisons
import numpy as np
import pytest


@pytest.fixture
def design():
    """design(methods, …) → a Design on data of 784 pixels with κ_max = .25."""
    return comparisons.design_of


@pytest.fixture
def drawn():
    return lambda seed=0, **given: comparisons.Drawn(np.random.default_rng(seed), **given)


@pytest.fixture
def follow():
    """Q1's stages one after the other: follow(design, ends) → levels, the pilots' ends, and the path's."""
    return comparisons.follow


@pytest.fixture
def comparison():
    """comparison(methods, exploratory, what `Drawn` takes) → the Comparison of drawn runs."""
    return comparisons.compared
