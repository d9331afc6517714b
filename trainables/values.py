"""The kinds of values a field can have, with what YAML makes of them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def _none_word(value: Any) -> Any:
    return None if value == "none" else value


def _device(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value)):
        raise ValueError("auto, cpu, cuda or cuda:N")
    return value


def parse_duration(value: Any) -> float | str:
    """A schedule's length: a number in [0, 1] is a fraction of the budget, `"400 steps"` are optimiser steps.

    Parameters
    ----------
    value
        As YAML gives it.

    Returns
    -------
    float or str
        The fraction, or `"N steps"`.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> parse_duration("0.25"), parse_duration("400 step")
    (0.25, '400 steps')
    """
    _refuse_bool(value)
    steps = re.fullmatch(r"\s*(\d+)\s*steps?\s*", value) if isinstance(value, str) else None
    if steps:
        return f"{int(steps[1])} steps"
    try:
        fraction = float(value)
    except (TypeError, ValueError):
        fraction = math.nan
    if not 0 <= fraction <= 1:
        raise ValueError("a fraction of the budget from 0 to 1, or steps as in '400 steps'")
    return fraction


def steps_of(duration: float | str, total_steps: int) -> int:
    """A duration in optimiser steps.

    Parameters
    ----------
    duration
        A fraction of the budget, or `"400 steps"`.
    total_steps
        The budget.

    Returns
    -------
    int
        Rounded.

    Examples
    --------
    >>> steps_of(0.25, 1000), steps_of("400 steps", 1000)
    (250, 400)
    """
    if isinstance(duration, str):
        return int(duration.split()[0])
    return round(duration * total_steps)


def steps_per_epoch(n_train: int, batch_size: int) -> int:
    """The updates of an epoch; a last batch that is not full is left out.

    Parameters
    ----------
    n_train, batch_size
        Training examples, and examples of an update.

    Returns
    -------
    int
        ⌊n_train / batch_size⌋.

    Examples
    --------
    >>> steps_per_epoch(1_000, 128)
    7
    """
    return n_train // batch_size


Number = Annotated[float, BeforeValidator(_refuse_bool)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[int, BeforeValidator(_refuse_bool), Field(ge=1)]
Seed = Annotated[int, BeforeValidator(_refuse_bool), Field(ge=0, lt=2**63)]
Duration = Annotated[float | str, BeforeValidator(parse_duration)]
Device = Annotated[str, BeforeValidator(_device)]
Auto = Literal["auto"]
Optional = BeforeValidator(_none_word)
"""Marks a field whose `none` is the word for off."""


class Section(BaseModel):
    """A frozen part of a configuration; unknown keys and infinite numbers are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
