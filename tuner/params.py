"""A configuration as MLflow parameters, which are strings, and back."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from trainables.config import TrialConfig
from trainables.paths import flatten, parse_config, unflatten

__all__ = ["from_params", "to_params"]


def to_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Path → text as one would write it after `--set`: floats exactly, lists as JSON, None as `none`."""
    return {path: _text(value) for path, value in flatten(config).items()}


def from_params(params: Mapping[str, str]) -> TrialConfig:
    """The inverse of `to_params`, to the last bit; raises ConfigError for parameters that are no configuration."""
    return parse_config(unflatten({path: _value(text) for path, text in params.items()}))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _value(text: str) -> Any:
    """Lists are parsed here; every other text is left to its field, which alone knows whether `7` is a name."""
    if text.startswith("["):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
    return text
