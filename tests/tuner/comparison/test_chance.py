import numpy as np
import pytest
from scipy.stats import hypergeom

from tuner.comparison.statistics import chance_of_a_hit


@pytest.mark.parametrize("pool", [1, 5, 64])
def test_it_is_the_hypergeometric_chance(pool):
    hits, n = np.mgrid[: pool + 1, 1 : pool + 1]
    found = [
        [chance_of_a_hit(pool, *map(int, at)) for at in zip(*row, strict=True)] for row in zip(hits, n, strict=True)
    ]
    assert np.array(found) == pytest.approx(1 - hypergeom.pmf(0, pool, hits, n), abs=1e-12)
