"""The README against the code it describes."""

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import typer

from trainables.config import DEFAULT_KIND, USER_MODEL
from trainables.paths import variants
from tuner.cli import app
from tuner.spec import Scheduler, Search

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NO_COMPONENTS = {"auto", "none"}


def words(annotation):
    """The strings that an annotation allows."""
    return {annotation} if isinstance(annotation, str) else {w for part in get_args(annotation) for w in words(part)}


def test_the_component_table_lists_each_kind_once_and_nothing_else():
    kinds = {f"{family}.kind={kind}" for family in DEFAULT_KIND for kind in variants(family)}
    kinds |= {f"model.kind={USER_MODEL}"}
    kinds |= {f"search.sampler={name}" for name in words(Search.model_fields["sampler"].annotation)}
    kinds |= {f"scheduler.kind={name}" for name in words(Scheduler.model_fields["kind"].annotation) - NO_COMPONENTS}
    assert Counter(re.findall(r"^\| `([\w.]+=\S+)` \|", README, re.MULTILINE)) == Counter(kinds)


CODE = re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)
COMMANDS = sorted({found for code in CODE for found in re.findall(r"vae-tuner ([a-z-]+)([^`\n&#]*)", code)})


@pytest.mark.parametrize(("verb", "rest"), COMMANDS, ids=lambda part: part.strip())
def test_every_command_in_the_readme_has_its_verb_and_options(verb, rest):
    commands = typer.main.get_command(app).commands
    assert verb in commands
    options = {option for parameter in commands[verb].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", rest)) <= options
