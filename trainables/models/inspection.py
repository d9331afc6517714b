"""Tries a model on a few random examples, before a start and within a second: whether it can be trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainables import global_settings
from trainables.config.models import ModelConfig, UserModel
from trainables.errors import ConfigError
from trainables.models import Model, Params, UserVae, build_model
from trainables.models.user import InterfaceError
from trainables.models.users_code import RaisedError, users_code

EXAMPLES = 4
CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModelFinding:
    """A fact about a model. level: an `error` makes it untrainable, a `note` is good to know."""

    check: Literal["encode", "decode", "buffers", "finite", "repeatable", "rows", "gradients", "parameters"]
    level: Literal["error", "note"]
    message: str


NOTHING_TO_TRAIN = ModelFinding(
    "parameters", "error", "it has no trainable parameters; give it layers as attributes that require gradients"
)


def check_user_model(config: ModelConfig, shape: tuple[int, ...]) -> list[str]:
    """Notes on a user's model, none on a built-in one; raises ConfigError where it cannot be trained."""
    if not isinstance(config, UserModel):
        return []
    found = inspect_model(config, shape)
    errors = [finding.message for finding in found if finding.level == "error"]
    if errors:
        raise ConfigError(f"model.kind: {config.kind}: {'; '.join(errors)}")
    return [f"{config.kind}: {finding.message}" for finding in found]


def inspect_model(config: ModelConfig, shape: tuple[int, ...]) -> list[ModelFinding]:
    """Try a model for examples of this shape on the CPU; errors first, none where it can be trained.

    Raises ConfigError where there is no model.
    """
    with global_settings.fresh(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(config, shape)
        params = {name: value.requires_grad_() for name, value in model.init(0, CPU).items()}
        if not params:
            return [NOTHING_TO_TRAIN]
        if len(kinds := sorted({str(value.dtype).removeprefix("torch.") for value in params.values()})) > 1:
            message = f"its parameters are of {' and '.join(kinds)}; make them all of one kind, as .float() does"
            return [ModelFinding("parameters", "error", message)]
        trial = _Trial(model, params, torch.rand(EXAMPLES, math.prod(shape)), torch.randn(EXAMPLES, config.latent_dim))
        errors = list(_failed_calls(trial)) or list(_broken_laws(trial))
        return errors or [*_names(trial), _size(trial)]


@dataclass(frozen=True)
class _Trial:
    model: Model
    params: Params
    x: Tensor
    noise: Tensor

    def reconstruct(self, params: Params, x: Tensor) -> Tensor:
        """The decoder's output at z ~ q(z|x), which depends on every parameter."""
        mean, log_variance = self.model.encode(params, x)
        return self.model.decode(params, mean + torch.exp(log_variance / 2) * self.noise)

    def outputs(self, x: Tensor, z: Tensor) -> list[Tensor]:
        return [*self.model.encode(self.params, x), self.model.decode(self.params, z)]


def _failed_calls(trial: _Trial) -> Iterator[ModelFinding]:
    """Whether both sides can be called and return what the interface requires."""
    calls: dict[Literal["encode", "decode"], Callable[[], Sequence[Tensor]]] = {
        "encode": lambda: trial.model.encode(trial.params, trial.x),
        "decode": lambda: [trial.model.decode(trial.params, trial.noise)],
    }
    for side, call in calls.items():
        try:
            with users_code():
                elsewhere = [made.device for made in call() if made.device != CPU]
        except RaisedError as raised:
            is_own = isinstance(raised.error, InterfaceError)
            yield ModelFinding(side, "error", str(raised.error) if is_own else f"{side} raised {raised}; fix it")
            continue
        if elsewhere:
            message = f"{side} gave a tensor on {elsewhere[0]} for one on {CPU}; make tensors on their input's device"
            yield ModelFinding(side, "error", message)


def _broken_laws(trial: _Trial) -> Iterator[ModelFinding]:
    constants = dict(trial.model.constants) if isinstance(trial.model, UserVae) else {}
    before = {name: value.clone() for name, value in constants.items()}
    with torch.no_grad():
        first, second = trial.outputs(trial.x, trial.noise), trial.outputs(trial.x, trial.noise)
        others = trial.outputs(_first_row_of(trial.x), _first_row_of(trial.noise))
    changed = [name for name, value in constants.items() if not value.equal(before[name])]
    if changed:
        yield ModelFinding(
            "buffers",
            "error",
            f"a call changes {changed[0]}, which a model without state cannot; use GroupNorm instead of BatchNorm",
        )
    if not all(value.isfinite().all() for value in first):
        yield ModelFinding("finite", "error", "its first outputs are not finite; begin with smaller weights")
    elif not all(map(torch.equal, first, second)):
        yield ModelFinding(
            "repeatable", "error", "two calls on the same input differ; remove Dropout and own random draws"
        )
    elif not all(torch.allclose(a[0], b[0], rtol=1e-4, atol=1e-5) for a, b in zip(first, others, strict=True)):
        yield ModelFinding(
            "rows", "error", "examples of a batch influence each other; use GroupNorm instead of BatchNorm"
        )
    dead = _unreached(trial)
    if dead:
        yield ModelFinding("gradients", "error", f"no gradient reaches {', '.join(dead)}; use or remove them")


def _first_row_of(x: Tensor) -> Tensor:
    """Other examples beside the first."""
    return torch.cat([x[:1], 1 - x[1:]])


def _unreached(trial: _Trial) -> list[str]:
    """The parameters without influence on a reconstruction; moved a little first, for layers that begin at 0."""
    params = {
        name: (value + 0.05 * torch.randn_like(value)).detach().requires_grad_() for name, value in trial.params.items()
    }
    output = trial.reconstruct(params, trial.x)
    loss = (output * torch.randn_like(output)).sum()
    if not loss.requires_grad:
        return list(params)
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    return [name for name, value in zip(params, gradients, strict=True) if value is None or not value.any()]


def _names(trial: _Trial) -> Iterator[ModelFinding]:
    loose = [name for name in trial.params if not name.startswith(("encoder.", "decoder."))]
    if loose:
        yield ModelFinding(
            "parameters", "note", f"lr.encoder and lr.decoder do not reach {loose[0]}, named for neither side"
        )


def _size(trial: _Trial) -> ModelFinding:
    return ModelFinding("parameters", "note", f"{sum(value.numel() for value in trial.params.values()):,} parameters")
