"""A configuration as MLflow parameters, which are strings: to filter runs by and to read, never the way back."""

import json
from collections.abc import Mapping
from typing import Any

from trainables.config.paths import KWARGS, field_of, flatten

_SHORTEST_CUT = 500  # older servers cut there, later ones at 6,000 characters


def to_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Path → text as one would write it after `--set`: floats exactly, lists as JSON, None as `none`.

    The arguments of a user's model are JSON, since only their text knows their type: `7` is a number, `"7"` a word.
    """
    return {path: _text(path, value) for path, value in flatten(config).items()}


def altered(wanted: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """The paths of parameters that are there with another value; one that MLflow has cut is the same."""
    return [path for path, text in wanted.items() if path in there and not _is_same(text, there[path])]


def _is_same(text: str, found: str) -> bool:
    return found == text or (len(found) >= _SHORTEST_CUT and text.startswith(found))


def _text(path: str, value: Any) -> str:
    if field_of(path) == KWARGS:
        return json.dumps(value)
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
