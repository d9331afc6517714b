"""The README against the code it describes."""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import typer

from trainables.config import DEFAULT_KIND, USER_MODEL
from trainables.config.paths import variants
from tuner.cli.commands import app
from tuner.sweeps.spec import Scheduler, Search

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


ROOT = Path(__file__).parents[1]
FILES = [ROOT / "cluster.yaml", *sorted((ROOT / "examples").iterdir())]
TEXTS = [README, *(file.read_text(encoding="utf-8") for file in FILES)]
CODE = [found for text in TEXTS for found in re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)]
COMMANDS = sorted({found for code in CODE for found in re.findall(r"vae-tuner ([a-z-]+)([^`\n&#]*)", code)})
CONSOLE = sorted({line for text in TEXTS for line in re.findall(r"^(?:# )?\$ (vae-tuner .*)", text, re.MULTILINE)})
IN_SCRIPTS = sorted({line for text in TEXTS[1:] for line in re.findall(r"(?:then|else) (vae-tuner [^;]*)", text)})


def verb_of(words):
    """The command that the first words name, and the words after them."""
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize(("verb", "rest"), COMMANDS, ids=lambda part: part.strip())
def test_every_command_in_the_texts_has_its_verb_and_options(verb, rest):
    assert verb in typer.main.get_command(app).commands
    command, _ = verb_of([verb, *rest.split()])
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", rest)) <= options


@pytest.mark.parametrize("line", [*CONSOLE, *IN_SCRIPTS])
def test_every_command_line_in_the_texts_is_taken_as_it_stands(line):
    command, words = verb_of(shlex.split(line, comments=True)[1:])
    assert not hasattr(command, "commands"), f"no verb {words[0]}"
    command.make_context("vae-tuner", words).close()


def test_command_lines_are_found_in_every_kind_of_text():
    assert len(CONSOLE) > 20
    assert len(IN_SCRIPTS) == 3
