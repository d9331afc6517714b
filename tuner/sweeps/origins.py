"""Whether sweeps are ranked together that ran on other data, or with other code of one model."""

from __future__ import annotations

from collections.abc import Mapping

DATA = "data"
"""What the digest of a sweep's data stands under, beside those of its models, which stand under their kinds."""


def other_origin(sweeps: Mapping[str, Mapping[str, str]]) -> str | None:
    """The first thing whose digests differ between sweeps, with them; None where all that are known are the same.

    sweeps: by name, the digests of its data and models; an empty or missing one is unknown, and like any.
    """
    for what in sorted({what for digests in sweeps.values() for what in digests}):
        having = {digests[what]: name for name, digests in sweeps.items() if digests.get(what)}
        if len(having) > 1:
            found = ", ".join(f"{digest} in {name}" for digest, name in sorted(having.items()))
            return f"{'their data' if what == DATA else f'the code of {what}'} (by digest {found})"
    return None
