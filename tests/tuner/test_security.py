"""What is read never executes code: a sweep's files, MLflow's records and a user's YAML are data.

Loading from checkpoints and MLflow is in `test_vae` and `test_user_models`, names that lead out of the storage in
`test_removal`, `test_syncing`, `test_resuming` and `test_sweep_folder`.
"""

import sys
from itertools import pairwise
from zipfile import ZipFile

import pytest

from trainables.errors import UserError
from tuner.comparison.request import Request
from tuner.running.comparison_stages import ComparisonRun
from tuner.running.comparisons import compare_methods
from tuner.running.single_run import read_config
from tuner.sweeps.events import JournalError
from tuner.sweeps.journal import bytes_of, read_journal
from tuner.sweeps.spec import as_yaml
from tuner.sweeps.status import sweep_statuses
from tuner.sweeps.yaml_files import read_yaml
from tuner.tracking.best import best
from tuner.tracking.removal import remove_sweep
from tuner.tracking.syncing import sync_sweep


@pytest.fixture
def of_a_module(sweeps, nets, uri):
    """A sweep over a user's own model, whose module nothing has imported since."""
    sweeps.run("s", **{"config.model.kind": f"{nets}:make", "tracking.uri": uri})
    sweeps.cut("s", -1)
    del sys.modules[nets]
    return sweeps


def resume_without_naming_it(sweeps, uri):
    with pytest.raises(UserError, match="if you trust it, name it"):
        sweeps.resume("s")


def warm_start_of_another_sweep(sweeps, uri):
    sweeps.plan("t", **{"search.warm_start": ["s"]})


def best_of_it(sweeps, uri):
    sync_sweep(sweeps.storage, "s")
    assert best(uri)


@pytest.mark.parametrize(
    "act",
    [
        lambda sweeps, uri: sweep_statuses(sweeps.storage),
        lambda sweeps, uri: sync_sweep(sweeps.storage, "s"),
        lambda sweeps, uri: remove_sweep(sweeps.storage, "s", keep_best=True),
        lambda sweeps, uri: remove_sweep(sweeps.storage, "s"),
        resume_without_naming_it,
        warm_start_of_another_sweep,
        best_of_it,
    ],
    ids=["status", "sync", "rm-keep-best", "rm", "resume", "warm-start", "best"],
)
def test_a_sweeps_files_import_nothing(act, of_a_module, nets, uri):
    act(of_a_module, uri)
    assert nets not in sys.modules


# --- journals that others have written --------------------------------------------------------------------------------


def rewrite(path, change):
    """Change a journal's events, and its checksums with them."""
    events = read_journal(path)
    change(events)
    path.write_bytes(bytes_of(events))


def last_ask(events):
    return [event for event in events if event["event"] == "ask"][-1]


PLACES = {
    "trial": lambda events, kind: last_ask(events)["config"].update(model={"kind": kind}),
    "dotted": lambda events, kind: events[0]["spec"]["config"].update({"model.kind": kind}),
    "nested": lambda events, kind: events[0]["spec"]["config"].update(model={"kind": kind}),
    "fixed": lambda events, kind: events[0]["spec"].update(space={"use": ["lr"], "model.kind": kind}),
    "searched": lambda events, kind: events[0]["spec"].update(space={"model.kind": {"choice": ["mlp", kind]}}),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_journal_imports_what_the_user_has_not_named(place, sweeps, nets):
    """Wherever it names a model: in what the driver plans by, or in a trial that workers would go on with."""
    sweeps.run("s")
    asked = [n for n, event in enumerate(sweeps.events("s")) if event["event"] == "ask"]
    sweeps.cut("s", asked[-1] + 1)
    rewrite(sweeps.journal("s"), lambda events: PLACES[place](events, f"{nets}:make"))
    for model in (None, "json:loads"):
        with pytest.raises(UserError, match=f"runs the code of {nets}:make; if you trust it, name it"):
            sweeps.resume("s", model=model)
    assert nets not in sys.modules


@pytest.mark.parametrize("trial", ["/tmp/x", "../0003", "0003/..", "3", "", "٣٣٣٣", "0003\n", 3])
@pytest.mark.parametrize(
    "act",
    [
        lambda sweeps: sweep_statuses(sweeps.storage, "s"),
        lambda sweeps: sync_sweep(sweeps.storage, "s"),
        lambda sweeps: remove_sweep(sweeps.storage, "s", keep_best=True),
        lambda sweeps: sweeps.resume("s"),
        lambda sweeps: sweeps.plan("t", **{"search.warm_start": ["s"]}),
    ],
    ids=["status", "sync", "rm-keep-best", "resume", "warm-start"],
)
def test_a_trials_id_names_a_folder_of_its_sweep_and_nothing_else(act, trial, written_sweep):
    sweeps = written_sweep(trial)
    with pytest.raises(JournalError, match="is not the id of a trial"):
        act(sweeps)


@pytest.fixture(scope="module")
def written_once():
    """The journal of a sweep cut short, kept for all tests."""
    return {}


@pytest.fixture
def written_sweep(sweeps, written_once):
    def write(trial):
        if not written_once:
            sweeps.run("s")
            sweeps.cut("s", -3)
            written_once["journal"] = sweeps.journal("s").read_bytes()
        sweeps.journal("s").parent.mkdir(parents=True, exist_ok=True)
        sweeps.journal("s").write_bytes(written_once["journal"])
        rewrite(sweeps.journal("s"), lambda events: last_ask(events).update(trial=trial))
        return sweeps

    return write


# --- secrets ----------------------------------------------------------------------------------------------------------

MARK = "MARKED"
STORE = (
    f"postgresql+psycopg2://me:{MARK}@127.0.0.1:9/db?password={MARK}&sslkey={MARK}&sig={MARK}&x=1"
    f"&odbc_connect=DRIVER%3Dx%3BPWD%3D{MARK}&endpoint=http%3A%2F%2Fme%3A{MARK}%40h;token={MARK}"
)
VERBS = (
    ("status", "s", "--format", "json"),
    ("export", "s", "s.zip"),
    ("report", "s"),
    ("resume", "s", "--trials", "+1", "--tracking-uri", STORE, "--offline"),
    ("best", "--tracking-uri", STORE),
    ("train", "best.yaml", "--tracking-uri", STORE),
    ("sync", "s", "--tracking-uri", STORE),
    ("doctor", "--tracking-uri", STORE),
    ("sweep", "--plan", "--tracking-uri", STORE),
    ("sweep", "--storage", f"s3://me:{MARK}@bucket/s"),
    ("sweep", "--dataset", f"s3://bucket/.data/0123456789abcdef/x.npy?secret_key={MARK}"),
    ("sweep", "--set", f"model.kwargs.url=http://me:{MARK}@h", "--model", "nets:make"),
    ("sweep", "--set", f"model.kwargs.password={MARK}", "--model", "nets:make"),
    ("sweep", "own/spec.yaml"),
    ("sweep", "own/wrong.yaml"),
    ("submit", "own/spec.yaml"),
    ("train", "own/config.yaml"),
    ("lr-range", "own/config.yaml"),
    ("train", "exported.yaml", "--set", f"model.kwargs.password={MARK}"),
    ("lr-range", "exported.yaml", "--set", f"model.kwargs={{password: {MARK}}}"),
    ("train", "exported.yaml", "--set", f"model.kwargs={{password: {MARK}, password: {MARK}}}"),
    ("compare", "--set", f"model.kwargs.password={MARK}", "--model", "nets:make"),
    ("compare", "--set", f"model.kwargs.url=http://me:{MARK}@h", "--model", "nets:make"),
    ("sweep", "--ray-address", f"http://me:{MARK}@h:1"),
    ("submit", "spec.yaml", "--tracking-uri", STORE),
    ("submit", "spec.yaml", "--cluster", f"http://me:{MARK}@h:1"),
    ("submit", "spec.yaml", "--plan"),
    ("jobs", "list"),
    ("jobs", "resume", "s", "--tracking-uri", STORE),
    ("rm", "s", "--runs", "--tracking-uri", STORE),
)


def files_below(folder):
    """All content that lies there, of zip files too."""
    for path in folder.rglob("*"):
        if path.suffix == ".zip":
            with ZipFile(path) as packed:
                yield from ((f"{path}/{name}", packed.read(name)) for name in packed.namelist())
        elif path.is_file():
            yield str(path), path.read_bytes()


OWN = {
    "spec.yaml": {"name": "u", "tracking": {"tags": {"api_key": MARK}}},
    "wrong.yaml": {"name": "u", "tracking": {"tags": {"api_key": [MARK]}}},
    "config.yaml": {"model": {"kind": "nets:make", "kwargs": {"client": {"password": MARK}}}},
}
VARIABLES = {
    **dict.fromkeys(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "DATABRICKS_TOKEN"), MARK),
    **dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "SSH_PRIVATE_KEY"), MARK),
    "DATABASE_URL": f"postgresql://me:{MARK}@h/d",
    "ALL_PROXY": f"http://me:{MARK}@127.0.0.1:9",
}


def test_a_secret_stays_out_of_all_that_is_written_and_printed(sweeps, uri, cli, tmp_path, monkeypatch):
    """Sown into the environment, tracking URI, storage, data, a model's arguments, tags and addresses; the only files
    that have it are the user's own. What Ray writes is looked at in `test_isolation`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    sweeps.run("s", **{"tracking.uri": STORE, "search.trials": 2})
    (tmp_path / "spec.yaml").write_text("name: t\nstorage: ./elsewhere\n")
    (tmp_path / "best.yaml").write_text("data: {name: digits}\nepochs: 1\n")
    origin = {"sweep": "s", "sweep_id": "x", "trial": "0000"}
    (tmp_path / "exported.yaml").write_text(as_yaml({"data": {"name": "digits"}, "epochs": 1, "origin": origin}))
    (tmp_path / "own").mkdir()
    for name, tree in OWN.items():
        (tmp_path / "own" / name).write_text(as_yaml(tree))
    printed = {verb: cli(tmp_path, *verb) for verb in VERBS[:-1]}
    sync_sweep(sweeps.storage, "s", uri)
    written = dict(files_below(tmp_path))
    printed[VERBS[-1]] = cli(tmp_path, *VERBS[-1])
    written |= dict(files_below(tmp_path))

    assert not [verb for verb, found in printed.items() if MARK in found.out + found.err]
    assert not [verb for verb, found in printed.items() if "Traceback" in found.out + found.err]
    named = {verb: found.err for verb, found in printed.items() if found.code == 2}
    assert "tracking.tags.api_key holds a name, a password or a key" in named["sweep", "own/spec.yaml"]
    assert "tracking.tags.api_key: *** is not allowed" in named["sweep", "own/wrong.yaml"]
    for verb in ("train", "lr-range"):
        assert "model.kwargs.client.password holds a name, a password" in named[verb, "own/config.yaml"]
    laid_over = [found for verb, found in named.items() if verb[1] == "exported.yaml"]
    assert sum("model.kwargs.password holds a name, a password or a key" in found for found in laid_over) == 2
    assert not [path for path, content in written.items() if MARK.encode() in content and "/own/" not in path]
    looked_at = ("s.zip/s/journal.jsonl", "sweeps/s/journal.jsonl", "reports/s/index.html", "store/mlflow.db")
    assert all(any(path.endswith(name) for path in written) for name in looked_at)
    assert any(b"vae_tuner.sweep" in content for path, content in written.items() if path.endswith("mlflow.db"))


def test_a_comparison_that_python_asks_for_is_looked_at_too(tmp_path):
    request = Request("c", settings={"model.kwargs.password": MARK})
    with pytest.raises(UserError, match=r"^model\.kwargs\.password holds a name, a password or a key"):
        compare_methods(ComparisonRun(request, tmp_path, tmp_path / "sweeps", tmp_path / "reports"))


# --- YAML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_yaml, read_config])
@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['touch owned']",
        "name: !!python/object/new:os.system ['touch owned']",
        "name: !!python/name:os.system ''",
        "name: !!python/module:os ''",
        "!!python/object:tuner.sweeps.spec.SweepSpec {}",
    ],
)
def test_yaml_that_names_python_objects_is_refused(read, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.yaml is not valid YAML: could not determine a constructor"):
        read(tmp_path / "sweep.yaml")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("read", [read_yaml, read_config])
@pytest.mark.parametrize(
    "text",
    [
        "config: &c\n  data: *c\n",
        "config: &c\n  - *c\n",
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghij")),
        "a: &a {x: 1, y: 1}\n"
        + "".join(f"{new}: &{new} {{x: *{old}, y: *{old}}}\n" for old, new in pairwise("abcdefghijklmnopqrst")),
    ],
)
def test_yaml_that_aliases_multiply_or_that_holds_itself_is_refused_at_once(read, text, tmp_path):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.yaml holds more than 100,000 values with its aliases"):
        read(tmp_path / "sweep.yaml")


def test_yaml_may_have_aliases(tmp_path):
    (tmp_path / "sweep.yaml").write_text("config: &c {data: {name: mnist}}\nspace: *c\n")
    assert read_yaml(tmp_path / "sweep.yaml")["space"] == {"data": {"name": "mnist"}}
