"""A user's `torch.nn.Module` as a model: pure functions of its parameters."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from trainables import global_settings
from trainables.config.models import ModelConfig, UserModel
from trainables.data.readers.fetched import digest_of
from trainables.errors import ConfigError
from trainables.models.base import Model, Params
from trainables.models.users_code import RaisedError, users_code
from trainables.source import source_files

INTERFACE = "encode(x) → (mean, log_variance) and decode(z) → output"


_STARTED = time.time()
_folders: list[Path] = []
_loaded: dict[str, str] = {}
_kept: dict[str, str] = {}
_settings: dict[Path, global_settings.Settings] = {}


def make_importable(folder: Path) -> None:
    """Let a user's modules be found in a folder, after everything that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    if folder not in _folders:
        _folders.append(folder)


def code_of_kinds(kinds: Iterable[str]) -> dict[str, str]:
    """By kind, the digest of the source that is loaded, or would be; installed packages have none."""
    modules = {kind: kind.partition(":")[0] for kind in kinds}
    found = {kind: _loaded.get(module) or _present(module)[1] for kind, module in modules.items()}
    return {kind: digest for kind, digest in found.items() if digest}


def keep_loaded(code: Mapping[str, str]) -> None:
    """Keep the modules that were loaded from this source, although their files change: a sweep runs one code."""
    _kept.update({kind.partition(":")[0]: digest for kind, digest in code.items()})


def _present(module: str) -> tuple[Mapping[str, Path], str | None]:
    """The source of a module as it is now, and its digest."""
    importable = [folder for folder in _folders if str(folder) in sys.path]
    for folder in dict.fromkeys((*importable, Path.cwd())):
        if files := source_files(module, folder):
            return files, digest_of(files)
    return {}, None


def imported(kind: str) -> ModuleType:
    """The module of a user's model, loaded anew where its source has changed since.

    The process-wide settings that its import made are made again, with those of the user's modules that it imports:
    every trial finds the same, whichever model imported them first.
    """
    name = kind.partition(":")[0]
    files, digest = _present(name)
    if digest and name in sys.modules and _is_stale(name, files, digest):
        _forget(files.values())
    importlib.invalidate_caches()  # a notebook may have written the module just now
    is_new = name not in sys.modules
    own = {file.resolve() for file in files.values()}
    _set_again(own if is_new else own | {_file_of(sys.modules[name])})
    with _threads_kept(), _noting(name, own):
        module = importlib.import_module(name)
    if digest and (is_new or name not in _loaded):
        _loaded[name] = digest
    return module


def _set_again(files: Container[Path | None]) -> None:
    """Make the settings of the modules of these files again, in their order."""
    for file, settings in _settings.items():
        if file in files:
            global_settings.apply(settings)


@contextmanager
def _noting(name: str, files: Container[Path | None]) -> Iterator[None]:
    """Note the settings of each module that the block executes, if it has this name or is one of these files."""
    execute = SourceFileLoader.exec_module

    def noting(loader: SourceFileLoader, module: ModuleType) -> None:
        file, before = _file_of(module), global_settings.current()
        execute(loader, module)
        if file is not None and (file in files or module.__name__ == name):
            _settings[file] = {key: value for key, value in global_settings.current().items() if value != before[key]}

    SourceFileLoader.exec_module = noting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        SourceFileLoader.exec_module = execute  # type: ignore[method-assign]


def _file_of(module: ModuleType) -> Path | None:
    return Path(module.__file__).resolve() if module.__file__ else None


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Keep the number of threads, which only the configuration sets."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_stale(name: str, files: Mapping[str, Path], digest: str) -> bool:
    """Whether a module's source has changed; of one that others imported, only the times of its files are known."""
    if name in _loaded:
        return _loaded[name] not in (digest, _kept.get(name))
    return any(file.stat().st_mtime > _STARTED for file in files.values())


def _forget(files: Iterable[Path]) -> None:
    """Python takes a file of the same second and size for the one that it has compiled, so the compiled one goes."""
    forgotten = {file.resolve() for file in files}
    for name, module in list(sys.modules.items()):
        source = getattr(module, "__file__", None)
        if source and Path(source).resolve() in forgotten:
            del sys.modules[name]
            _settings.pop(Path(source).resolve(), None)
            _loaded.pop(name, None)
            with suppress(OSError):
                Path(importlib.util.cache_from_source(source)).unlink(missing_ok=True)


class InterfaceError(TypeError):
    """A user's module returned something else than its interface requires."""


class UserVae(Model):
    """The module a configuration's factory makes, under the parameters it is given.

    Buffers and frozen parameters are constants, made under seed 0. Importing and calling the factory happens here.
    Raises ConfigError where the factory cannot be imported, fails, or makes something else.
    """

    @classmethod
    def of(cls, config: ModelConfig, shape: tuple[int, ...]) -> UserVae:
        assert isinstance(config, UserModel)
        return cls(config, shape)

    def __init__(self, config: UserModel, shape: tuple[int, ...]) -> None:
        self.latent_dim = config.latent_dim
        self._config = config
        self._shape = shape
        self._factory = _factory(config.kind)
        self.code = code_of_kinds([config.kind])
        module = self._made(seed=0)
        self._sides = _Sides(module)
        self._trained = [name for name, value in module.named_parameters() if value.requires_grad]
        self._constants = {
            name: value.detach()
            for name, value in (*module.named_parameters(), *module.named_buffers())
            if not value.requires_grad
        }
        self._constants_on: dict[torch.device, dict[str, Tensor]] = {}

    @property
    def constants(self) -> Mapping[str, Tensor]:
        """What is not trained, by name."""
        return self._constants

    def init(self, seed: int, device: torch.device) -> Params:
        """The parameters of a module that is made under this seed, in the module's own order."""
        named = self._made(seed).named_parameters()
        return {name: value.detach().clone().to(device) for name, value in named if value.requires_grad}

    def encode(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        pair = self._call(params, self._sides.module.encode, x.reshape(-1, *self._shape))
        wanted = [(len(x), self.latent_dim)] * 2
        _require(_shapes(pair) == wanted, "encode", pair, f"a pair {_shown(wanted)}, mean and log-variance")
        mean, log_variance = pair
        return mean, log_variance

    def decode(self, params: Mapping[str, Tensor], z: Tensor) -> Tensor:
        output = self._call(params, self._sides.module.decode, z)
        wanted = [(len(z), *self._shape), (len(z), math.prod(self._shape))]
        _require(_shapes([output])[0] in wanted, "decode", [output], " or ".join(map(str, wanted)))
        flat: Tensor = output.reshape(wanted[1])
        return flat

    def _call(self, params: Mapping[str, Tensor], side: Callable[[Tensor], Any], x: Tensor) -> Any:
        own = {name: params[name] for name in self._trained}
        named = {f"module.{name}": value for name, value in {**own, **self._held_on(x.device)}.items()}
        return torch.func.functional_call(self._sides, named, (side, x))

    def _held_on(self, device: torch.device) -> dict[str, Tensor]:
        """The constants on a device, copied there once."""
        if device not in self._constants_on:
            self._constants_on[device] = {name: value.to(device) for name, value in self._constants.items()}
        return self._constants_on[device]

    def _made(self, seed: int) -> nn.Module:
        kind = self._config.kind
        try:
            with users_code(), torch.random.fork_rng(devices=[]), _threads_kept():
                torch.manual_seed(seed)
                made = self._factory(self._shape, self.latent_dim, **self._config.kwargs)
        except RaisedError as raised:
            raise ConfigError(f"model.kind: {kind} raised {raised}; fix it, or model.kwargs") from None
        return _checked(kind, made)


def _require(holds: bool, side: str, made: Any, wanted: str) -> None:
    if not holds:
        raise InterfaceError(f"{side} gave {_shown(_shapes(made))}, not {wanted}")


def _shapes(made: Any) -> list[Any]:
    """The shapes of tensors; anything else by its type."""
    parts = made if isinstance(made, tuple | list) else [made]
    return [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]


def _shown(shapes: Sequence[Any]) -> str:
    return ", ".join(map(str, shapes))


class _Sides(nn.Module):
    """`functional_call` can only call `forward`; this one calls a method of the module below."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, side: Callable[[Tensor], Any], x: Tensor) -> Any:
        return side(x)


def _checked(kind: str, made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"model.kind: {kind} returned a {type(made).__name__}, not a torch.nn.Module; return one with {INTERFACE}"
        )
    missing = [name for name in ("encode", "decode") if not callable(getattr(made, name, None))]
    if missing:
        raise ConfigError(
            f"model.kind: {kind} returned a {type(made).__name__} without {' and '.join(missing)}; give it {INTERFACE}"
        )
    lazy = [name for name, value in made.named_parameters() if isinstance(value, UninitializedParameter)]
    if lazy:
        raise ConfigError(
            f"model.kind: {kind} returned a module whose {lazy[0]} has no shape yet; use layers that are not lazy"
        )
    empty = [name for name, value in (*made.named_parameters(), *made.named_buffers()) if value.is_meta]
    if empty:
        raise ConfigError(
            f"model.kind: {kind} returned a module whose {empty[0]} has no values: it is on the device `meta`; make "
            "it on the CPU"
        )
    return made


def _factory(kind: str) -> Callable[..., object]:
    name, _, attribute = kind.partition(":")
    make_importable(Path.cwd())
    try:
        with users_code():
            module = imported(kind)
    except RaisedError as raised:
        error = raised.error
        if not isinstance(error, ModuleNotFoundError):
            raise ConfigError(f"model.kind: importing {name} raised {raised}; fix it") from None
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"model.kind: importing {name} raised {raised}; install it") from None
        raise ConfigError(
            f"model.kind: {kind}: no module {error.name} is installed or in {Path.cwd()}; run this in the folder that "
            "holds it"
        ) from None
    factory: Any = getattr(module, attribute, None)
    if not callable(factory):
        public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        near = difflib.get_close_matches(attribute, public, n=1)
        raise ConfigError(
            f"model.kind: {name} has no function {attribute}"
            + (f"; did you mean `{name}:{near[0]}`?" if near else f"; define {attribute}(shape, latent_dim)")
        )
    made: Callable[..., object] = factory
    return made
