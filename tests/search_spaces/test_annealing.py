import pytest
from branches import branches

from search_spaces.annealing import ANNEALING, CYCLICAL, FREE_BITS, LINEAR
from search_spaces.geco import GECO, GECO_VS_ANNEALING


@pytest.mark.parametrize("period", CYCLICAL.dimensions["beta.period"].options)
def test_whole_cycles_fill_the_budget(period):
    assert 1 / period == round(1 / period)


@pytest.mark.parametrize(("joined", "parts"), [(ANNEALING, 3), (GECO_VS_ANNEALING, 4)])
def test_each_branch_is_the_space_it_is_made_of(joined, parts):
    found = branches(joined)
    assert len(found) == parts
    for branch in found:
        [part] = [space for space in (LINEAR, CYCLICAL, FREE_BITS, GECO) if space.fixed == branch]
        drawn = {path: joined.dimensions[path].to_mapping() for path in joined.active(branch) if path not in branch}
        for domain in drawn.values():
            domain.pop("when", None)
        assert drawn == {path: domain.to_mapping() for path, domain in part.dimensions.items()}
