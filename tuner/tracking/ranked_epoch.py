"""By which epoch an exported configuration was ranked: the section `ranked` of its file, which is no part of what is
trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainables.config import TrialConfig
from trainables.errors import ConfigError
from trainables.ranking import BEST, LAST, Ranking, is_ranking

if TYPE_CHECKING:
    from tuner.tracking.best import BestTrial

SECTION = "ranked"


@dataclass(frozen=True)
class RankedEpoch:
    """ranking: as in `search.ranking`. metric: that it goes by. epoch: the one that counts, of a budget of `epochs`."""

    ranking: str
    metric: str
    epoch: int
    epochs: int

    def section(self) -> dict[str, Any]:
        """As files have it; nothing where it is the last epoch, which every file means that says nothing."""
        return {} if self.ranking == LAST else {SECTION: asdict(self)}

    @property
    def says(self) -> str:
        """What its numbers are of, in words."""
        if self.ranking == BEST:
            return f"epoch {self.epoch} of {self.epochs}, its best by {self.metric}"
        return Ranking(self.ranking).says

    def last_epoch(self, config: TrialConfig) -> int:
        """The epoch up to which it is trained: schedules are those of the whole budget."""
        return self.epoch if self.ranking == BEST else config.epochs

    def is_of(self, config: TrialConfig) -> bool:
        """Whether a configuration has the budget of which it is an epoch; a mean over the last is of any."""
        return self.ranking != BEST or config.epochs == self.epochs


def ranked_section(row: BestTrial) -> dict[str, Any]:
    """What stands below an exported configuration; nothing where the last epoch counts."""
    if row.ranking == LAST:
        return {}
    return RankedEpoch(row.ranking, row.searched_by, row.epoch, row.require_config().epochs).section()


def split_ranked(tree: Mapping[str, Any]) -> tuple[dict[str, Any], RankedEpoch | None]:
    """A file's tree as a configuration, and the epoch it was ranked by, where that was not the last.

    Raises ConfigError for a section that is none.
    """
    config = {name: value for name, value in tree.items() if name != SECTION}
    if SECTION not in tree:
        return config, None
    try:
        found = RankedEpoch(**tree[SECTION])
        whole = is_ranking(found.ranking) and 1 <= found.epoch <= found.epochs and isinstance(found.metric, str)
    except TypeError:
        whole = False
    if not whole:
        raise ConfigError(
            f"{SECTION}: {tree[SECTION]!r} is not allowed; allowed: {{ranking: best, metric: NAME, epoch: 83, epochs: "
            "150} as `best --export` writes it; without the section the last epoch counts"
        )
    return config, found
