"""The code of a user's model is known by its source, which is read and never executed."""

import shutil
import sys

import pytest

from trainables.config.paths import parse_config
from trainables.models import build_model, code_of
from trainables.models.user import code_of_kinds, keep_loaded
from trainables.source import code_digest, source_files

FILES = {
    "nets.py": "import torch, parts, json\nfrom pkg.deep import layer\nraise SystemExit('never executed')",
    "parts.py": "def f():\n    import nets\n    from late import g",
    "late.py": "",
    "pkg/__init__.py": "from . import names",
    "pkg/names.py": "from .. import nowhere",
    "pkg/deep/__init__.py": "",
    "pkg/deep/layer.py": "from ..names import a\nfrom .sibling import b\nfrom ..other.far import c",
    "pkg/deep/sibling.py": "",
    "pkg/other/far.py": "",
    "pkg/unused.py": "",
    "space/inner.py": "from space import twin",
    "space/twin.py": "",
    "unrelated.py": "",
    "broken.py": "def (",
}
NETS = {
    *("nets.py", "parts.py", "late.py", "pkg/__init__.py", "pkg/names.py", "pkg/deep/__init__.py"),
    *("pkg/deep/layer.py", "pkg/deep/sibling.py", "pkg/other/far.py"),
}


@pytest.fixture
def here(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("nets", NETS),
        ("pkg.names", {"pkg/__init__.py", "pkg/names.py"}),
        ("space.inner", {"space/inner.py", "space/twin.py"}),
        ("broken", {"broken.py"}),
        ("torch", set()),
        ("space", set()),
    ],
)
def test_the_files_are_those_that_an_import_executes(module, files, here):
    assert set(source_files(module, here)) == files


def test_a_package_goes_before_a_module_of_its_name(here):
    (here / "pkg.py").write_text("import unrelated")
    assert set(source_files("pkg", here)) == {"pkg/__init__.py", "pkg/names.py"}


@pytest.mark.parametrize("name", FILES)
def test_the_digest_follows_the_imported_files_and_no_others(name, here):
    before = code_digest("nets", here)
    (here / name).write_text(f"{FILES[name]}\n# a comment")
    assert (code_digest("nets", here) != before) == (name in NETS)


def test_the_digest_is_of_names_and_contents_wherever_they_lie(here, tmp_path):
    shutil.copytree(here, tmp_path / "there")
    assert code_digest("nets", here) == code_digest("nets", tmp_path / "there")
    assert code_digest("nets", tmp_path / "nowhere") is None


# --- a module that is older than its file -----------------------------------------------------------------------------


def made(nets):
    model = build_model(parse_config({"model": {"kind": f"{nets}:make", "latent_dim": 2}}).model, (4, 4))
    return sys.modules[nets].A, code_of(model)


def edit(folder, nets, name):
    (folder / f"{nets}.py").write_text((folder / f"{nets}.py").read_text().replace("A = 'ReLU'", f"A = '{name}'"))


@pytest.fixture
def edited(nets, tmp_path):
    file = tmp_path / f"{nets}.py"
    file.write_text(f"{file.read_text()}\nA = 'ReLU'\n")
    return nets


def test_a_module_is_loaded_anew_when_its_file_is_another(edited, tmp_path):
    name, code = made(edited)
    assert (name, code) == ("ReLU", {f"{edited}:make": code_digest(edited, tmp_path)})
    edit(tmp_path, edited, "Tanh")  # of the same size, in the same second
    name, code = made(edited)
    assert (name, code) == ("Tanh", {f"{edited}:make": code_digest(edited, tmp_path)})
    assert code_of_kinds([f"{edited}:make", "json:loads"]) == code


def test_a_worker_keeps_the_code_that_its_sweep_began_with(edited, tmp_path):
    _, code = made(edited)
    keep_loaded(code)
    edit(tmp_path, edited, "Tanh")
    assert made(edited) == ("ReLU", code)


def test_a_module_that_nobody_has_changed_is_not_executed_again(edited):
    made(edited)
    first = sys.modules[edited]
    made(edited)
    assert sys.modules[edited] is first


def test_a_module_that_the_user_imported_before_is_loaded_anew_once_its_file_is_newer(edited, tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(edited)
    edit(tmp_path, edited, "Tanh")
    assert made(edited)[0] == "Tanh"
