"""The reference pages of the handbook, made from the code they describe; a hook of MkDocs.

Nothing here is copied by hand: fields, types, defaults and texts come from the configuration's classes, commands from
the command line's own help, spaces from the catalogue, words from the glossary of the report pages.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

import tuner
from search_spaces.catalogue import space_named, space_names
from trainables.config import DEFAULT_KIND, TrialConfig
from trainables.config.paths import flatten, parse_config, plain
from trainables.vae import Vae
from trainables.values import parse_duration
from tuner.cli.commands import app
from tuner.cli.options import PATHS
from tuner.cli.setup import STARTER
from tuner.reports.glossary import TERMS
from tuner.sweeps.metrics import METRICS
from tuner.sweeps.spec import SweepSpec, parse_time

READ_BY = {
    parse_duration: "a fraction of the budget from 0 to 1, `N steps`",
    parse_time: "seconds, `90s`, `30m`, `2h`",
}
"""What a field takes that is read by a function of its own."""

SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
WORDS = {
    int: "whole number",
    float: "number",
    str: "word",
    bool: "`true`, `false`",
    NoneType: "`none`",
    dict: "mapping",
    Any: "any value",
}

MADE = "<!-- made by docs/reference.py -->\n"
HELP_WIDTH = 100


def pages() -> dict[str, str]:
    """The pages that are made, by their path below `docs/`, as Markdown."""
    made = {
        "configuration": configuration(),
        "sweep-file": sweep_file(),
        "spaces": spaces(),
        "metrics": metrics(),
        "command-line": command_line(),
        "python": python(),
    }
    return {f"reference/{name}.md": MADE + text for name, text in made.items()}


def on_files(files: Any, config: Any) -> Any:
    """MkDocs asks once for all files of the site."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The report pages' words stand in the glossary."""
    return markdown.replace("<!-- terms -->", terms()) if page.file.src_uri == "glossary.md" else markdown


# --- a trial's configuration and a sweep's file -----------------------------------------------------------------------


def configuration() -> str:
    sections = [
        "# Configuration of a trial",
        "A trial is a function of this tree. The path of a field is its name everywhere: in a file, in "
        "`--set PATH=VALUE`, in a search space, as MLflow parameter, in an exported configuration. `auto` becomes a "
        "number once the data are known. Lengths of schedules are a fraction of the budget (`0.25`) or steps "
        "(`400 steps`).",
        "## At the top",
        _table(TrialConfig, "", [name for name in TrialConfig.model_fields if not _section_classes(name)]),
    ]
    for name in TrialConfig.model_fields:
        classes = _section_classes(name)
        if name in DEFAULT_KIND:
            sections.append(f"## {name}\n\nDefault kind: `{DEFAULT_KIND[name]}`.")
            sections += [_variant(name, cls) for cls in classes]
        elif classes:
            sections.append(f"## {name}\n\n{_lead(classes[0])}\n\n{_table(classes[0], f'{name}.')}")
    sections += ["## Defaults of the digits", _digits()]
    return "\n\n".join(sections) + "\n"


def _section_classes(name: str) -> list[type[BaseModel]]:
    """The classes that a field of a configuration may hold, in the order of their declaration."""
    return list(_classes(TrialConfig.model_fields[name].annotation))


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)


def _variant(family: str, cls: type[BaseModel]) -> str:
    field = cls.model_fields["kind"]
    kind = "package.module:factory" if field.is_required() else field.default
    fields = [name for name in _fields(cls) if name != "kind"]
    anchor = f"{family}-{re.sub('[^a-z-]', '-', kind)}"
    parts = [f"### `{family}.kind: {kind}` {{ #{anchor} }}", _lead(cls)]
    return "\n\n".join(filter(None, [*parts, _table(cls, f"{family}.", fields) if fields else ""]))


def _digits() -> str:
    """Where the defaults of the built-in digits differ from those of other data."""
    digits, other = (flatten(plain(parse_config({"data": {"name": name}}))) for name in ("digits", "mnist"))
    rows = [(path, value) for path, value in digits.items() if other.get(path) != value and path != "data.name"]
    lines = [f"| `{path}` | `{_value(value)}` | `{_value(other[path])}` |" for path, value in rows]
    return "\n".join(["| field | digits | all other data |", "|---|---|---|", *lines])


def sweep_file() -> str:
    parts = [
        "# The sweep file",
        "All keys may be left out. `vae-tuner init` writes this file, to start from:",
        f"```yaml\n{STARTER}```",
        "## At the top",
        _lead(SweepSpec),
    ]
    sections = {
        name: field.annotation
        for name, field in SweepSpec.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    parts.append(_table(SweepSpec, "", [name for name in SweepSpec.model_fields if name not in sections]))
    for name, cls in sections.items():
        parts.append(f"## {name}\n\n{_lead(cls)}\n\n{_table(cls, f'{name}.')}")
    options = [f"| `--{option.replace('_', '-')}` | `{path}` |" for option, path in PATHS.items()]
    parts += ["## Options that set a field", "An option wins over the file, and `--set PATH=VALUE` over both."]
    return "\n\n".join([*parts, "\n".join(["| option | field |", "|---|---|", *options])]) + "\n"


def _fields(cls: type[BaseModel]) -> list[str]:
    """The fields of a class, its own before those that it inherits."""
    own = [name for name in cls.model_fields if name in cls.__annotations__]
    return own + [name for name in cls.model_fields if name not in own]


def _table(cls: type[BaseModel], prefix: str, names: list[str] | None = None) -> str:
    texts = _texts(cls)
    lines = ["| field | allowed | default | meaning |", "|---|---|---|---|"]
    for name in _fields(cls) if names is None else names:
        field = cls.model_fields[name]
        default = "" if field.is_required() else f"`{_value(field.get_default(call_default_factory=True))}`"
        allowed = ", ".join(_allowed(field.annotation, field.metadata))
        lines.append(f"| `{prefix}{name}` | {allowed} | {default} | {_cell(texts.get(name, ''))} |")
    return "\n".join(lines)


def _allowed(annotation: Any, marks: Sequence[Any] = ()) -> list[str]:
    """What a type allows, in words, one for each alternative. marks: pydantic's, of the type's `Annotated`."""
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        return _allowed(inner, [*own, *(each for mark in own for each in getattr(mark, "metadata", ())), *marks])
    for mark in marks:
        if getattr(mark, "func", None) in READ_BY:
            return [READ_BY[mark.func], *_none_in(annotation)]
    if get_origin(annotation) is Literal:
        return [f"`{word}`" for word in get_args(annotation)]
    if get_origin(annotation) in (Union, UnionType):
        return [word for part in get_args(annotation) for word in _allowed(part, marks)]
    marks = marks if annotation in (int, float) else ()
    bounds = [f" {sign} {getattr(mark, key):g}" for mark in marks for key, sign in SIGNS.items() if _bound(mark, key)]
    if get_origin(annotation) is tuple:
        return [f"list of {' or '.join(_allowed(get_args(annotation)[0]))}"]
    return [WORDS[get_origin(annotation) or annotation] + " and".join(bounds)]


def _none_in(annotation: Any) -> list[str]:
    return ["`none`"] if NoneType in get_args(annotation) else []


def _bound(mark: Any, key: str) -> bool:
    return isinstance(getattr(mark, key, None), int | float) and abs(getattr(mark, key)) < 2**62


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        return json.dumps(value.model_dump(mode="json"), ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


# --- docstrings: a lead, then `field: what it means.` -----------------------------------------------------------------


def _docs(cls: type) -> list[str]:
    """The docstrings of a class and of the classes of this project that it inherits from, without their examples."""
    texts = (inspect.cleandoc(each.__dict__["__doc__"]) for each in cls.__mro__ if _is_ours(each))
    return [text.partition("\nExamples\n---")[0] for text in texts]


def _is_ours(cls: type) -> bool:
    ours = cls.__module__.partition(".")[0] in ("trainables", "tuner") and cls.__name__ != "Section"
    return ours and bool(cls.__dict__.get("__doc__"))


def _split(text: str, fields: Sequence[str]) -> list[tuple[list[str], str]]:
    """A docstring as its lead, under no names, and its entries, each under the fields it explains."""
    lead, sections = _numpy_sections(text)
    if sections:
        return [([], lead), *(entry for title in ("Parameters", "Attributes") for entry in sections.get(title, []))]
    names = "|".join(sorted(map(re.escape, fields), key=len, reverse=True))
    marks = list(re.finditer(rf"(?:^\s*|(?<=[.;] ))((?:{names})(?:, (?:{names}))*): ", text, re.MULTILINE))
    edges = [*[mark.start() for mark in marks], len(text)]
    entries = [(mark[1].split(", "), text[mark.end() : end]) for mark, end in zip(marks, edges[1:], strict=True)]
    return [([], text[: edges[0]]), *entries]


def _numpy_sections(text: str) -> tuple[str, dict[str, list[tuple[list[str], str]]]]:
    """A docstring in NumPy's style as its lead and, by title, the entries of its sections."""
    lead, *parts = re.split(r"^([A-Z]\w+(?: \w+)?)\n-{3,}\n", text, flags=re.MULTILINE)
    return lead, {title: list(map(_numpy_entry, _blocks(body))) for title, body in zip(*[iter(parts)] * 2, strict=True)}


def _blocks(body: str) -> list[str]:
    """What begins at a line without an indent."""
    return [block for block in re.split(r"^(?=\S)", body.strip(), flags=re.MULTILINE) if block]


def _numpy_entry(block: str) -> tuple[list[str], str]:
    """`name : type` and below it what it means."""
    head, _, text = block.partition("\n")
    return head.partition(" : ")[0].split(", "), inspect.cleandoc(text)


def _lead(cls: type[BaseModel]) -> str:
    """What a class says before its fields."""
    if not _is_ours(cls):
        return ""
    (_, lead), *_ = _split(_docs(cls)[0], list(cls.model_fields))
    return lead.strip().removesuffix(";")


def _texts(cls: type[BaseModel]) -> dict[str, str]:
    """What the docstrings say of each field, the class's own before what it inherits."""
    found: dict[str, str] = {}
    for text in _docs(cls):
        for names, entry in _split(text, list(cls.model_fields)):
            found = {**dict.fromkeys(names, " ".join(entry.split()).rstrip(";")), **found}
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- spaces, metrics, words -------------------------------------------------------------------------------------------


def spaces() -> str:
    parts = [
        "# Search spaces",
        "Join spaces with `+`, as in `--space geco+clr`. A dimension with a condition is drawn only where its parents "
        "have one of the values named. `vae-tuner spaces NAME` prints the same. "
        "[Where each comes from](components.md#search-spaces).",
    ]
    for name in space_names():
        space = space_named(name)
        rows = [f"| `{row.path}` | {_cell(row.varies)} | {_cell(row.condition)} |" for row in space.describe()]
        parts += [f"## {name}", "\n".join(["| field | varies | where |", "|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def metrics() -> str:
    rows = [f"| `{name}` | {info.direction} | {_cell(info.rewards)} |" for name, info in METRICS.items()]
    return "\n".join(
        [
            "# Metrics that trials can be ranked by",
            "",
            "`--metric NAME` in `sweep` and `best`. [What each is](../concepts/metrics.md), with its formula.",
            "",
            "| metric | best is | it |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def terms() -> str:
    """The words of the report pages as a definition list, in the order of the alphabet."""
    return "\n".join(f"**{term.name}**\n:   {term.text}\n" for term in sorted(TERMS, key=_in_order))


def _in_order(term: Any) -> str:
    greek = {"β": "beta", "λ": "lambda", "κ": "kappa", "σ": "sigma", "λ̂": "lambda"}
    return "".join(greek.get(letter, letter) for letter in term.name).lower()


# --- the command line and Python --------------------------------------------------------------------------------------


def command_line() -> str:
    parts = ["# Command line", "What `--help` prints, of every command."]
    parts += [f"## `{name}`\n\n```text\n{text}\n```" for name, text in helps()]
    return "\n\n".join(parts) + "\n"


def helps() -> Iterator[tuple[str, str]]:
    """(command, its help), of every verb, and of what lies below it."""
    yield from _helps("vae-tuner", typer.main.get_command(app), None)


def _helps(name: str, command: Any, parent: Any) -> Iterator[tuple[str, str]]:
    with command.make_context(
        name.rpartition(" ")[2], [], parent=parent, resilient_parsing=True, terminal_width=HELP_WIDTH
    ) as context:
        yield name, command.get_help(context)
        shown = {verb: each for verb, each in getattr(command, "commands", {}).items() if not each.hidden}
        for verb, below in shown.items():
            yield from _helps(f"{name} {verb}", below, context)


def python() -> str:
    parts = [
        "# Python",
        "The verbs of the command line as functions of the package `tuner`. They are loaded on first use.",
    ]
    for name in tuner.__all__:
        value = getattr(tuner, name)
        call = "" if inspect.isclass(value) else _call(f"tuner.{name}", value)
        parts.append(f"## `{name}`\n\n{call}{_explained(value)}")
    parts += ["## What `load` returns", _explained(Vae)]
    methods = [(name, each) for name, each in vars(Vae).items() if inspect.isfunction(each) and name[0] != "_"]
    parts += [f"### `{name}`\n\n{_call(f'model.{name}', method)}{_explained(method)}" for name, method in methods]
    return "\n\n".join(parts) + "\n"


def _call(name: str, function: Any) -> str:
    return f"```python\n{_signature(name, function)}\n```\n\n"


def _explained(value: Any) -> str:
    """A docstring, with what it says of each argument, or attribute, as a list."""
    text = inspect.getdoc(value) or ""
    lead, sections = _numpy_sections(text)
    if sections:
        return "\n\n".join([_escaped(lead.strip()), *(_section(text, title) for title in sections)])
    attributes = re.findall(r"(?:^|(?<=\. ))(\w+): ", text, re.MULTILINE)
    names = attributes if inspect.isclass(value) else inspect.signature(value).parameters
    (_, lead), *entries = _split(text, list(names))
    sentences = [(words, re.split(r"(?<=\.) (?=[A-Z])", " ".join(entry.split()))) for words, entry in entries]
    meanings = [_entry(words, meaning) for words, (meaning, *_) in sentences]
    rest = " ".join(sentence for _, (_, *after) in sentences for sentence in after)
    return _escaped("\n\n".join(filter(None, [lead.strip(), "\n".join(meanings), rest])))


def _section(text: str, title: str) -> str:
    """A section of a docstring in NumPy's style, under its title."""
    _, sections = _numpy_sections(text)
    if title == "Examples":
        body = text.partition("Examples\n--------\n")[2].strip()
        return f"**{title}**\n\n```pycon\n{re.sub(r' *# doctest:.*', '', body)}\n```"
    entries = [_entry(words, " ".join(meaning.split())) for words, meaning in sections[title]]
    return _escaped("\n".join([f"**{title}**\n", *entries]))


def _entry(words: Sequence[str], meaning: str) -> str:
    return f"- {', '.join(f'`{word}`' for word in words)}: {meaning}"


def _escaped(text: str) -> str:
    """Stars that are no emphasis, as in [N, *shape]."""
    return re.sub(r"(`[^`]*`|\*\*[A-Z]\w+\*\*)|\*", lambda found: found[1] or r"\*", text)


def _signature(name: str, function: Any) -> str:
    """As it is written, one argument a line where there are several."""
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    arguments = [_argument(parameter) for parameter in parameters]
    keywords = [n for n, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY]
    if keywords:
        arguments.insert(keywords[0], "*")
    line = f"{name}({', '.join(arguments)}) -> {signature.return_annotation}"
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return line if len(line) <= HELP_WIDTH else f"{name}(\n{lines}) -> {signature.return_annotation}"


def _argument(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}: {parameter.annotation}{default}"
