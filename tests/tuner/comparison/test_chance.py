import pytest
from scipy.stats import hypergeom

from tuner.comparison.chance import chance_of_a_hit


@pytest.mark.parametrize("pool", [1, 5, 64])
def test_it_is_the_hypergeometric_chance(pool):
    for hits in range(pool + 1):
        for n in range(1, pool + 1):
            assert chance_of_a_hit(pool, hits, n) == pytest.approx(1 - hypergeom(pool, hits, n).pmf(0), abs=1e-12)
