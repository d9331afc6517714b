"""The source of a user's model: its module, and what that imports from the same folder. Found without executing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainables.data.readers.fetched import digest_of
from trainables.errors import ConfigError


class _Module(NamedTuple):
    """A module as it is imported, and the file that is executed then."""

    name: str
    file: Path

    @property
    def package(self) -> str:
        """What its relative imports begin at."""
        return self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]


def code_digest(module: str, here: Path) -> str | None:
    """64 bits of the SHA-256 of the names and bytes of a module's source files; None where the module is not in `here`.

    It does not depend on where the folder is. Every change of these files changes it, also that of a comment.
    """
    files = source_files(module, here)
    return digest_of(files) if files else None


def source_files(module: str, here: Path) -> dict[str, Path]:
    """The files that importing a module executes, as far as they lie in a folder, by their names from there.

    The packages that hold it, and what any of these imports, also within functions and under conditions. What is
    imported by a name that is computed is not seen, nor are files that are read as data.
    """
    found: dict[str, Path] = {}
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for each in _executed(name, here):
            key = each.file.relative_to(here).as_posix()
            if key not in found:
                found[key] = each.file
                waiting += _imports(each)
    return found


def _executed(name: str, here: Path) -> Iterator[_Module]:
    """The packages of a dotted name and the module itself, as Python finds them, up to the first that is missing."""
    folder, parts = here, name.split(".")
    for n, part in enumerate(parts, 1):
        own = ".".join(parts[:n])
        if (package := folder / part / "__init__.py").is_file():
            yield _Module(own, package)
        elif (file := folder / f"{part}.py").is_file():
            yield _Module(own, file)
            return
        folder = folder / part  # a namespace's folder, if it is one
        if not folder.is_dir():
            return


def _imports(module: _Module) -> Iterator[str]:
    """The names of all that may be modules; a file that is not Python imports nothing."""
    try:
        tree = parsed(module.file)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module.package, node.level, node.module or "")
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
            if base:
                yield base


def parsed(file: Path) -> ast.Module:
    """The syntax of a file. Raises SyntaxError or ValueError where it is not Python, ConfigError where it is nested too
    deeply.
    """
    try:
        return ast.parse(file.read_bytes())
    except (RecursionError, MemoryError):
        raise ConfigError(
            f"model.kind: {file} holds an expression that is nested too deeply for Python; write it as several"
        ) from None


def _base(package: str, level: int, module: str) -> str:
    """The name that a `from … import` begins at: level 1 is the package itself."""
    above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    return ".".join(part for part in (*above, module) if part)
