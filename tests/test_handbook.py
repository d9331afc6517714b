"""README and handbook against the code they describe."""

import importlib.util
import re
import shlex
import time
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from browser import PATIENCE, browser_in

import tuner
from search_spaces.catalogue import parse_space, space_names
from trainables.config import DEFAULT_KIND
from trainables.config.models import USER_MODEL
from trainables.config.paths import known_paths, parse_config, variants
from tuner.cli.commands import app
from tuner.cli.options import PATHS, overlaid_spec
from tuner.reports.glossary import TERMS
from tuner.sweeps.metrics import METRICS
from tuner.sweeps.spec import Scheduler, Search, SweepSpec, parse_spec, sweep_tree

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
FILES = [ROOT / "cluster.yaml", *sorted((ROOT / "examples").iterdir())]
TEXTS = [README, *PAGES.values(), *(file.read_text(encoding="utf-8") for file in FILES)]
NO_COMPONENTS = {"auto", "none"}


def module(path):
    """A Python file that lies in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


COMMAND = typer.main.get_command(app)
reference = module(DOCS / "reference.py")
MADE = reference.pages()


# --- the tables -------------------------------------------------------------------------------------------------------


def words(annotation):
    """The strings that an annotation allows."""
    return {annotation} if isinstance(annotation, str) else {w for part in get_args(annotation) for w in words(part)}


def test_the_component_table_lists_each_kind_once_and_nothing_else():
    kinds = {f"{family}.kind={kind}" for family in DEFAULT_KIND for kind in variants(family)}
    kinds |= {f"model.kind={USER_MODEL}"}
    kinds |= {f"search.sampler={name}" for name in words(Search.model_fields["sampler"].annotation)}
    kinds |= {f"scheduler.kind={name}" for name in words(Scheduler.model_fields["kind"].annotation) - NO_COMPONENTS}
    assert Counter(re.findall(r"^\| `([\w.]+=\S+)` \|", PAGES["reference/components.md"], re.MULTILINE)) == Counter(
        kinds
    )


def test_the_table_of_spaces_lists_each_once():
    table = PAGES["reference/components.md"].partition("## Search spaces")[2]
    assert Counter(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == Counter(space_names())


# --- commands ---------------------------------------------------------------------------------------------------------

CODE = [found for text in TEXTS for found in re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)]
COMMANDS = sorted({found for code in CODE for found in re.findall(r"vae-tuner ([a-z-]+)([^`\n&#|]*)", code)})
CONSOLE = sorted({line for text in TEXTS for line in re.findall(r"^(?:# )?\$ (vae-tuner .*)", text, re.MULTILINE)})
IN_SCRIPTS = sorted({line for text in TEXTS for line in re.findall(r"(?:then|else) (vae-tuner [^;]*);", text)})


def verb_of(words):
    """The command that the first words name, and the words after them."""
    command = COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize(("verb", "rest"), COMMANDS, ids=lambda part: part.strip())
def test_every_command_in_the_texts_has_its_verb_and_options(verb, rest):
    assert verb in COMMAND.commands
    command, _ = verb_of([verb, *rest.split()])
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", rest)) <= options


def parsed(line):
    """The verb of a command line, and what its options are."""
    command, words = verb_of(shlex.split(line, comments=True)[1:])
    assert not hasattr(command, "commands"), f"no verb {words[0]}"
    with command.make_context("vae-tuner", words) as context:
        return command.name, context.params


@pytest.mark.parametrize("line", [*CONSOLE, *IN_SCRIPTS])
def test_every_command_line_in_the_texts_is_taken_as_it_stands(line):
    verb, params = parsed(line)
    if verb in ("sweep", "submit"):
        options = {name: params.get(name) for name in PATHS}
        spec = overlaid_spec(None, params["settings"], **options)
        parse_config(spec.config)
        parse_space(spec.space)


def test_command_lines_are_found_in_every_kind_of_text():
    assert len(CONSOLE) > 50
    assert len(IN_SCRIPTS) == 3


# --- files and Python -------------------------------------------------------------------------------------------------

SPECS = sorted(
    {found for text in [README, *PAGES.values()] for found in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)}
)
PARTS = sorted(
    {code for text in PAGES.values() for code in re.findall(r"`([a-z_.]+: \{[^`…A-Z]+\})`", text)}
)  # fmt: skip
PYTHON = sorted(
    {found for text in [README, *PAGES.values()] for found in re.findall(r"```python\n(.*?)```", text, re.DOTALL)}
)


def check_spec(text):
    spec = parse_spec(sweep_tree(yaml.safe_load(text)))
    parse_config(spec.config)
    parse_space(spec.space)


@pytest.mark.parametrize("text", SPECS)
def test_every_sweep_file_in_the_texts_is_valid(text):
    check_spec(text)


@pytest.mark.parametrize("text", PARTS)
def test_every_part_of_a_sweep_file_in_the_texts_is_valid(text):
    (section,) = yaml.safe_load(text)
    check_spec(text if section in SweepSpec.model_fields else f"space: {{use: [linear], {text}}}")


@pytest.mark.parametrize("text", PYTHON)
def test_python_in_the_texts_compiles_and_names_what_there_is(text):
    compile(text, "page", "exec")
    assert set(re.findall(r"\btuner\.(\w+)", text)) <= set(tuner.__all__)


def test_files_and_python_are_found():
    assert len(SPECS) >= 2
    assert len(PARTS) >= 3
    assert len(PYTHON) >= 4


# --- the pages that are made ------------------------------------------------------------------------------------------


def rows(name):
    """The tables of a page that is made, as rows of cells."""
    lines = [line for line in MADE[f"reference/{name}.md"].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_reference_says_of_every_field_what_it_allows_and_means():
    fields = [row for row in rows("configuration") if len(row) == 4]
    kinds = {f"{family}.kind" for family in DEFAULT_KIND}
    assert {row[0].strip("`") for row in fields} | kinds == set(known_paths())
    assert [row[0] for row in fields if not (row[1] and row[2] and row[3])] == []


def test_the_reference_has_every_kind_with_its_own_fields():
    page = MADE["reference/configuration.md"]
    for family in DEFAULT_KIND:
        for kind, cls in variants(family).items():
            own = page.partition(f"### `{family}.kind: {kind}` ")[2].partition("\n## ")[0].partition("\n### ")[0]
            assert Counter(re.findall(rf"^\| `{family}\.(\w+)` \|", own, re.MULTILINE)) == Counter(
                {*cls.model_fields} - {"kind"}
            )


def test_the_reference_says_of_every_key_of_a_sweep_file_what_it_allows_and_means():
    fields = [row for row in rows("sweep-file") if len(row) == 4]
    sections = {n: f.annotation for n, f in SweepSpec.model_fields.items() if hasattr(f.annotation, "model_fields")}
    keys = {f"{name}.{field}" for name, cls in sections.items() for field in cls.model_fields}
    assert {row[0].strip("`") for row in fields} == keys | (SweepSpec.model_fields.keys() - sections.keys())
    assert [row[0] for row in fields if not (row[1] and row[2] and row[3])] == []


def test_the_reference_has_the_help_of_every_command():
    verbs = re.findall(r"^## `vae-tuner ?([a-z -]*)`$", MADE["reference/command-line.md"], re.MULTILINE)
    below = [f"jobs {verb}" for verb, each in COMMAND.commands["jobs"].commands.items() if not each.hidden]
    assert set(verbs) == {"", *COMMAND.commands, *below}


def test_the_reference_has_every_space_metric_and_function():
    assert re.findall(r"^## (.*)$", MADE["reference/spaces.md"], re.MULTILINE) == space_names()
    assert re.findall(r"^## `(.*)`$", MADE["reference/python.md"], re.MULTILINE) == tuner.__all__
    assert [row[0].strip("`") for row in rows("metrics")] == list(METRICS)


def test_no_word_of_the_glossary_stands_twice():
    own = re.findall(r"^\*\*(.+)\*\*$", PAGES["glossary.md"], re.MULTILINE)
    found = Counter([*own, *(term.name for term in TERMS)])
    assert [word for word, count in found.items() if count > 1] == []
    assert len(own) > 15


# --- the whole --------------------------------------------------------------------------------------------------------


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 200
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The handbook, built as `make docs` does: a link or an anchor that leads nowhere ends it."""
    build = pytest.importorskip("mkdocs.commands.build", reason="the extra `docs` is not installed")
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build.build(config)
    return folder


def test_the_handbook_is_searched_from_disk_and_asks_the_network_for_nothing(site, tmp_path):
    with browser_in(tmp_path) as browser:
        page = browser.open(site / "index.html", 1200, scripts=True)
        page.ask("document.querySelector('#__search').click()")
        page.ask("""(() => {
            const field = document.querySelector('[data-md-component=search-query]');
            field.value = 'unsettled';
            field.dispatchEvent(new Event('keyup'));
        })()""")
        deadline = time.monotonic() + PATIENCE
        links = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.getAttribute('href'))"
        while not any("outcomes.html" in link for link in page.ask(links)):
            assert time.monotonic() < deadline, "the search finds nothing"
            time.sleep(0.1)
        asked = {event["request"]["url"] for event in page.of("Network.requestWillBeSent")}
        assert {url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))} == set()
