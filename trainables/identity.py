"""What the numbers of a trial come from beside its configuration: its data, its code, and the versions it ran under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from trainables.data.readers.fetched import file_name

PACKAGES = ("torch", "vae-tuner")
STEP, STEP_VERSION = "train step", "2"
"""How a step is computed; what was recorded before it was numbered is of the first, with a trial a step."""
NAMES = (*PACKAGES, STEP)


@dataclass(frozen=True)
class Identity:
    """data: the digest of the data set, as of `sources.digest`. code: by the kind of each model of the user's own, the
    digest of its source. versions: by package. What was recorded before there were digests has none, which differs from
    nothing."""

    data: str | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As plain data, of what is known; `parse_identity` reads it back."""
        known = {"data": self.data, "code": dict(self.code), "versions": dict(self.versions)}
        return {name: value for name, value in known.items() if value}


def parse_identity(tree: object) -> Identity:
    """What is known of an identity in plain data; what is no text is unknown."""
    known = tree if isinstance(tree, Mapping) else {}
    data = known.get("data")
    return Identity(data if isinstance(data, str) else None, _texts(known.get("code")), _texts(known.get("versions")))


def _texts(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {str(key): text for key, text in pairs if isinstance(text, str)}


@cache
def versions() -> dict[str, str]:
    """Of what decides the numbers: packages, where a build for another device is the same version, and the step."""
    return {**{name: version(name).partition("+")[0] for name in PACKAGES}, STEP: STEP_VERSION}


def differences(here: Identity, recorded: Identity, data_name: str, those: str) -> list[str]:
    """In what data and code here are not those recorded, a clause each. those: whose, as `of sweep first`."""
    found = []
    if here.data and recorded.data and here.data != recorded.data:
        found.append(f"the data {file_name(data_name)} are not those {those} ({_both(here.data, recorded.data)})")
    for kind, digest in here.code.items():
        if recorded.code.get(kind, digest) != digest:
            found.append(f"the code of {kind} is not that {those} ({_both(digest, recorded.code[kind])})")
    return found


def _both(here: str, there: str) -> str:
    return f"digest {here} here, {there} there"


def version_notes(here: Identity, recorded: Identity) -> list[str]:
    """A sentence on versions that differ, which changes numbers in their last digits, and is never refused."""
    there = {STEP: "1", **recorded.versions} if recorded.versions else {}
    pairs = [(name, here.versions.get(name), there.get(name)) for name in NAMES]
    differing = [
        f"{name} is {now} here and was {then} there" for name, now, then in pairs if now and then and now != then
    ]
    return [f"{', '.join(differing)}: numbers may differ in their last digits"] if differing else []


def notes_on(here: Identity, recorded: Identity, data_name: str, those: str) -> list[str]:
    """All that differs, a sentence each, where nothing is refused for it."""
    changed = differences(here, recorded, data_name, those)
    return [f"{text}; the numbers will be others" for text in changed] + version_notes(here, recorded)
