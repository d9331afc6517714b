"""A configuration as MLflow parameters, which are strings, and back."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from trainables.config import TrialConfig
from trainables.paths import KWARGS, field_of, flatten, parse_config, unflatten

__all__ = ["from_params", "to_params"]


def to_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Path → text as one would write it after `--set`: floats exactly, lists as JSON, None as `none`.

    The arguments of a user's model are JSON, since only their text knows their type: `7` is a number, `"7"` a word.
    """
    return {path: _text(path, value) for path, value in flatten(config).items()}


def from_params(params: Mapping[str, str]) -> TrialConfig:
    """The inverse of `to_params`, to the last bit; raises ConfigError for parameters that are no configuration."""
    return parse_config(unflatten({path: _value(path, text) for path, text in params.items()}))


def _text(path: str, value: Any) -> str:
    if field_of(path) == KWARGS:
        return json.dumps(value)
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _value(path: str, text: str) -> Any:
    """Lists are parsed here; every other text is left to its field, which alone knows whether `7` is a name."""
    if text.startswith("[") or field_of(path) == KWARGS:
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
    return text
