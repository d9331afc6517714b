"""What a job is given along: its spec, a user's code and data; nothing secret, and no more than a job may hold."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from search_spaces.catalogue import parse_space
from trainables.config.models import is_user_kind
from trainables.config.paths import flatten, unflatten
from trainables.data.readers import absolute, check_path, is_path
from trainables.data.readers.fetched import DATA, digest_of
from trainables.data.readers.folders import files_below
from trainables.data.readers.image_folder import SUFFIXES
from trainables.errors import ConfigError, DataError, UserError
from trainables.key_files import is_key_file
from trainables.object_storage import folder_at, is_remote
from trainables.source import parsed
from tuner.sweeps.spec import SweepSpec, public, spec_yaml

MAX_BYTES = 100 * 10**6
MAX_FILES = 20_000
"""Of the package of a model."""
SPEC = "spec.yaml"
SHIPPED = "shipped"


@dataclass(frozen=True)
class Shipment:
    """Files by their name in the job's working directory. spec: as the job reads it, None for a job without one.

    kept: what is to stay in the storage when the job is gone, name there → name in the working directory.
    notes: what the user should know.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    spec: SweepSpec | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def without_code_of(self, factories: Sequence[str]) -> list[str]:
        """Which of the user's own models it holds no code of: they are installed there, or were forgotten here."""
        sent = {Path(name).parts[0].removesuffix(".py") for name in self.files}
        return [kind for kind in factories if kind.partition(":")[0].partition(".")[0] not in sent]

    def write(self, folder: Path) -> None:
        """Copy all of it into a folder; raises UserError where it is too large."""
        _check_size(self.files)
        for name, source in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
        if self.spec:
            (folder / SPEC).write_text(spec_yaml(public(self.spec)), encoding="utf-8")


def shipment_of(spec: SweepSpec, here: Path, storage: str, *, with_data: bool) -> Shipment:
    """What the job of a sweep needs of this machine.

    with_data: whether it runs elsewhere, and takes a user's arrays or images along, unless they lie in `storage`;
    otherwise they are found where they are. A path that is not here is taken to be there. Data stay in the storage,
    under their digest, for a resume and for the winner to find them again; nodes that share no disk, but objects, are
    taken to have what has an absolute path.
    """
    code = code_of(factories_of(spec), here)
    name = flatten(spec.config).get("data.name")
    if not (isinstance(name, str) and is_path(name)) or is_remote(name):
        return Shipment(code, spec)
    source = Path(absolute(name))
    if not with_data or source.is_relative_to(storage):
        return Shipment(code, _with_data(spec, str(source)))
    if not source.exists():
        _check_absolute(name)
        return Shipment(code, spec)
    if is_remote(storage) and Path(name).is_absolute():
        note = f"{name} is not sent: every node has to see it there; a path from this folder on would be"
        return Shipment(code, spec, notes=[note])
    found = _data_files(source)
    _check_size(found)
    digest = digest_of(found)
    folder, stays = f"{SHIPPED}/{digest}", folder_at(storage) / DATA / digest
    files = {**code, **{f"{folder}/{below}": path for below, path in found.items()}}
    return Shipment(files, _with_data(spec, str(stays / source.name)), {str(stays): folder})


def _data_files(source: Path) -> dict[str, Path]:
    """What a reader of data opens: a file of arrays, of a folder the images."""
    if source.is_dir():
        return dict(_images_below(source))
    check_path(source)
    return {source.name: source}


def _check_size(files: Mapping[str, Path]) -> None:
    sizes = {source: source.stat().st_size for source in files.values()}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        largest = sorted(sizes, key=lambda source: -sizes[source])[:3]
        listed = ", ".join(f"{source} ({sizes[source] / 1e6:.1f} MB)" for source in largest)
        raise UserError(
            f"the job would take {total / 1e6:.1f} MB along, and {MAX_BYTES / 1e6:.0f} MB are allowed; the largest "
            f"files: {listed}; put data on the storage that all nodes share and name their path there in data.name, "
            "and keep them out of the package of a model"
        )


def _check_absolute(name: str) -> None:
    if not Path(name).is_absolute():
        raise DataError(
            f"data.name: {name} does not exist here; give the path of a file or folder of this machine, or an absolute "
            "path that all nodes of the cluster see"
        )


def _with_data(spec: SweepSpec, name: str) -> SweepSpec:
    return spec.model_copy(update={"config": unflatten({**flatten(spec.config), "data.name": name})})


def factories_of(spec: SweepSpec) -> list[str]:
    """The user's own models that a sweep may draw."""
    space = parse_space(spec.space)
    domain = space.dimensions.get("model.kind")
    searched = domain.levels() if domain else [space.fixed.get("model.kind")]
    kinds = [flatten(spec.config).get("model.kind"), *searched]
    return sorted({kind for kind in kinds if is_user_kind(kind)})


# --- a user's code ----------------------------------------------------------------------------------------------------


def code_of(factories: Sequence[str], here: Path) -> dict[str, Path]:
    """The packages and modules in `here` that hold the factories, and what these import from there.

    What is not in `here` is taken to be installed on the cluster too.
    """
    found: dict[str, Path] = {}
    waiting = [kind.partition(":")[0].partition(".")[0] for kind in factories]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        files = dict(_module(module, here))
        found |= files
        waiting += [name for path in files.values() if path.suffix == ".py" for name in _imports(path)]
    return found


def _module(name: str, here: Path) -> Iterator[tuple[str, Path]]:
    """The files of a package, else of a module, else of a namespace's folder, as Python looks for them; nothing where
    none lies in `here`."""
    folder, module = here / name, here / f"{name}.py"
    if module.is_file() and not (folder / "__init__.py").is_file():
        _check_sendable("model.kind", module, here, here)
        yield module.name, module
    elif folder.is_dir() and not _is_passed_over(folder):
        _check_place("model.kind", folder, here)
        yield from _package_below(folder, here)


def _check_sendable(field: str, path: Path, base: Path, within: Path) -> None:
    """Refuse a file that may not be sent: one that looks like a key, by its name from `base` or by that of what it
    links to, and a link to what is hidden or not `within` what is sent."""
    place = _check_place(field, path, within)
    if any(is_key_file(str(name)) for name in (path.relative_to(base), place)):
        raise UserError(
            f"{field}: {_with_target(path)} looks like a key, which would be sent along; give it another name if it is "
            "none, else take it away from there, and put it on the cluster where the model needs it"
        )


def _check_place(field: str, path: Path, within: Path) -> Path:
    """Where a file or folder really lies, seen from `within`."""
    real, root = path.resolve(), within.resolve()
    if not real.is_relative_to(root):
        raise UserError(
            f"{field}: {path} leads out of {within}, to {real}; put a copy in its place, or move the link elsewhere"
        )
    place = real.relative_to(root)
    if any(part.startswith(".") for part in place.parts):
        raise UserError(
            f"{field}: {_with_target(path)} is hidden, and hidden files are not sent; put a copy in the place of the "
            "link, or move the link elsewhere"
        )
    return place


def _with_target(path: Path) -> str:
    return f"{path}, a link to {path.resolve()}," if path.is_symlink() else str(path)


def _imports(path: Path) -> list[str]:
    """The top-level names of all that a file imports, but from its own package."""
    try:
        tree = parsed(path)
    except (SyntaxError, ValueError):
        raise ConfigError(f"model.kind: {path} is not valid Python; fix it") from None
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return [name.partition(".")[0] for name in names]


def _package_below(folder: Path, here: Path) -> Iterator[tuple[str, Path]]:
    """The files of a package by their names from `here`: none that is hidden, and no compiled ones. A folder goes along
    under every name that it is imported by.

    Raises UserError for what may not be sent, before a link that leads out is followed, and for more than MAX_FILES.
    """
    n_files = 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _is_passed_over(Path(parent, name))]
        for name in folders:
            _check_place("model.kind", Path(parent, name), folder)
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if path.is_file():
                _check_sendable("model.kind", path, here, folder)
                yield path.relative_to(here).as_posix(), path
        n_files += len(names)
        if n_files > MAX_FILES:
            raise UserError(
                f"model.kind: {folder} holds more than {MAX_FILES:,} files, those behind links counted wherever they "
                "lead; keep data and links between its folders out of it"
            )


def _images_below(source: Path) -> Iterator[tuple[str, Path]]:
    """The images of a folder as their reader finds them, by their names from where it lies. Raises as for a package."""
    for name in files_below(source, lambda link: _check_place("data.name", link, source)).files:
        path = source / name
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            _check_sendable("data.name", path, source.parent, source)
            yield f"{source.name}/{name}", path


def _is_passed_over(folder: Path) -> bool:
    """Hidden, compiled, or a link to a folder that it lies in."""
    if folder.name.startswith(".") or folder.name == "__pycache__":
        return True
    return folder.is_symlink() and folder.resolve() in [above.resolve() for above in folder.parents]
