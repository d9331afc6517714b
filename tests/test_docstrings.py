"""The examples in docstrings give what they say."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

from tuner.search.rules import Rule

ROOT = Path(__file__).parents[1]
PURE = ("trainables", "search_spaces", *(f"tuner/{name}" for name in ("comparison", "planning", "search", "sweeps")))
FILES = [path.relative_to(ROOT) for name in PURE for path in (ROOT / name).rglob("*.py")]
WITH_EXAMPLES = sorted(path for path in FILES if ">>> " in (ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_the_examples_give_what_they_say(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    found = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_public_faces_have_examples():
    names = {path.as_posix() for path in WITH_EXAMPLES}
    spaces = {f"search_spaces/{name}.py" for name in ("space", "domains", "catalogue", "grid")}
    assert spaces | {f"trainables/schedules/{name}.py" for name in ("beta", "lr")} <= names


# --- the public faces, in NumPy's style -------------------------------------------------------------------------------


def modules_of(room):
    return sorted(path.stem for path in (ROOT / "tuner" / room).glob("[a-z]*.py"))


SPACES = ("space", "domains", "values", "catalogue", "grid", "compile", "covering", "geco", "reach")
FACES = [
    "trainables.vae",
    "trainables.values",
    "trainables.distributions",
    *(f"trainables.models{name}" for name in ("", ".base", ".priors")),
    *(f"trainables.likelihoods{name}" for name in ("", ".base")),
    *(f"trainables.objectives{name}" for name in ("", ".base")),
    *(f"trainables.optimizers{name}" for name in ("", ".base", ".clipping")),
    *(f"trainables.training.{name}" for name in ("step", "trainer")),
    *(f"trainables.metrics.{name}" for name in ("aggregate", "evaluation", "importance", "two_sample")),
    *(f"trainables.schedules.{name}" for name in ("beta", "lr", "curves")),
    *(f"trainables.data.readers.{name}" for name in ("base", "file_reader")),
    *(f"trainables.config.{name}" for name in ("paths", "trial")),
    *(f"search_spaces.{name}" for name in SPACES),
    *(f"tuner.api.{name}" for name in ("comparisons", "jobs", "models", "sweeps")),
    *(f"tuner.{room}.{name}" for room in ("comparison", "search") for name in modules_of(room)),
    *(f"tuner.planning.{name}" for name in modules_of("planning") if name != "resources"),
    *("tuner.sweeps.metrics", "tuner.sweeps.means"),
]


def named_in(text, title):
    """The names that a section of a docstring explains."""
    section = re.search(rf"^{title}\n-+\n(.*?)(?=^\w+\n-+$|\Z)", text, re.MULTILINE | re.DOTALL)
    lines = section[1].splitlines() if section else []
    return [name.lstrip("*") for line in lines if line and line[0] not in " >" for name in line.split(", ")]


def public(module):
    """The functions of a module, and the methods of its classes that have words of their own, by their names; what
    every pruning rule has is explained once."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for below, method in vars(value).items():
                function = getattr(method, "__func__", method)
                is_explained = below in vars(Rule) and value is not Rule
                if inspect.isfunction(function) and not below.startswith("_") and function.__doc__ and not is_explained:
                    yield f"{name}.{below}", function


@pytest.mark.parametrize("name", FACES)
def test_public_functions_explain_their_arguments_and_their_result(name):
    for function, value in public(importlib.import_module(name)):
        text, signature = inspect.getdoc(value) or "", inspect.signature(value)
        arguments = [argument for argument in signature.parameters if argument not in ("self", "cls")]
        assert named_in(text, "Parameters") == arguments, function
        if arguments and signature.return_annotation not in (None, "None"):
            assert named_in(text, "Returns"), function
