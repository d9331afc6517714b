"""Where an exported configuration comes from: the section `origin` of its file, which is no part of what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.errors import ConfigError
from trainables.identity import Identity, parse_identity

ORIGIN = "origin"


@dataclass(frozen=True)
class Origin:
    """The trial that a configuration was of. run_id: of MLflow, empty where it is not known. identity: what it was
    trained on and with."""

    sweep: str
    sweep_id: str
    trial: str
    run_id: str = ""
    identity: Identity = field(default_factory=Identity)

    def section(self) -> dict[str, dict[str, Any]]:
        """As files have it."""
        names = ("sweep", "sweep_id", "trial", "run_id")
        return {ORIGIN: {name: value for name in names if (value := getattr(self, name))} | self.identity.document()}


def parted(tree: Mapping[str, Any]) -> tuple[dict[str, Any], Origin | None]:
    """A file's tree as a configuration and its origin, which files that nobody exported do not have.

    Raises ConfigError for an origin that is none.
    """
    config = {name: value for name, value in tree.items() if name != ORIGIN}
    if ORIGIN not in tree:
        return config, None
    found = tree[ORIGIN]
    names = ("sweep", "sweep_id", "trial")
    if not isinstance(found, Mapping) or not all(isinstance(found.get(name), str) for name in names):
        raise ConfigError(
            f"{ORIGIN}: {found!r} is not allowed; allowed: {{sweep: NAME, sweep_id: ID, trial: '0000'}} as "
            "`best --export` writes it; without the section it is a configuration of its own"
        )
    run_id, identity = str(found.get("run_id", "")), parse_identity(found)
    return config, Origin(found["sweep"], found["sweep_id"], found["trial"], run_id, identity)
