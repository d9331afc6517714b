"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [path.relative_to(ROOT) for name in ("trainables", "search_spaces") for path in (ROOT / name).rglob("*.py")]
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
