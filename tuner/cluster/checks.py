"""What is wrong with a sweep whatever its data are: refused before anything is sent."""

from __future__ import annotations

from search_spaces.catalogue import parse_space
from search_spaces.space import assemble
from trainables.config.paths import flatten, parse_config, suggest, unflatten
from trainables.data.readers import DATASETS, is_path
from trainables.errors import DataError
from tuner.sweeps.spec import SweepSpec, check_public

__all__ = ["check_fixed"]


def check_fixed(spec: SweepSpec) -> None:
    """Refuse fields of a sweep's fixed part that are unknown or not allowed, and names that no data set has.

    What depends on the data, as a batch size larger than their number, is found where these are read.
    """
    check_public(spec)
    space, base = parse_space(spec.space), flatten(spec.config)
    own = {path: value for path, value in base.items() if path in space.fixed or path in space.dimensions}
    space = space.extended("", own, {}) if own else space
    rest = unflatten({path: value for path, value in base.items() if path not in own})
    name = parse_config(assemble(rest, space, space.default(rest))).data.name
    if name not in DATASETS and not is_path(name):
        raise DataError(
            f"data.name: {name!r} is not a known data set{suggest(name, DATASETS)}; or a path to .npy or .npz, or to a "
            "folder of images"
        )
