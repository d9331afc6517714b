"""The verbs of the command line, down to what a backend is given."""

import json

import pytest
from typer.testing import CliRunner

from trainables.errors import UserError
from tuner.cli.commands import app
from tuner.cli.job_tables import show_followed, show_stopped
from tuner.cluster import backend_choice
from tuner.cluster.backend import JobInfo
from tuner.cluster.follow_job import Followed
from tuner.cluster.job import Job
from tuner.cluster.job_log import PREFIX
from tuner.sweeps.yaml_files import read_yaml

STATUS = {"stop_reasons": {"completed": 1}, "metric": "val/elbo"}


class Noted:
    """A backend that notes the spec of what it is given, and has one job, with a log."""

    cluster = "http://head:8265"

    def __init__(self, log="", state="stopped"):
        self.text, self.state = log, state

    def jobs(self):
        return []

    def submit(self, order):
        self.arguments = order.arguments
        spec = order.folder / "spec.yaml"
        self.spec = read_yaml(spec) if spec.exists() else None

    def job(self, job_id):
        return JobInfo(job_id, "s", "/shared", self.state, 1.0, 2.0)

    def log(self, job_id):
        return self.text


@pytest.fixture
def noted(monkeypatch, tmp_path):
    found = Noted()
    monkeypatch.setattr(backend_choice, "backend_of", lambda cluster: found)
    monkeypatch.chdir(tmp_path)
    return found


def test_options_of_a_submission_are_laid_over_its_spec(noted, tmp_path):
    (tmp_path / "s.yaml").write_text("storage: /shared\nresources: {concurrency: 2, retries: 1}\nconfig: {epochs: 9}")
    options = "--concurrency 3 --gpus-per-trial 0.5 --cpus-per-trial 2 --epochs 4 --trials 5"
    done = CliRunner().invoke(app, ["submit", "s.yaml", *options.split()], catch_exceptions=False)
    assert done.exit_code == 0
    found = noted.spec
    expected = {"concurrency": 3, "gpus_per_trial": 0.5, "cpus_per_trial": 2.0, "retries": 1, "ray_address": "auto"}
    assert {name: found["resources"][name] for name in expected} == expected
    assert (found["config"]["epochs"], found["search"]["trials"]) == (4, 5)


@pytest.mark.parametrize("allowed", [(), ("--allow-changed",)])
@pytest.mark.parametrize("verb", [("submit", "s.yaml"), ("jobs", "resume", "s", "--storage", "/shared")])
def test_a_job_is_told_what_its_verb_was(verb, allowed, noted, tmp_path):
    (tmp_path / "s.yaml").write_text("storage: /shared")
    done = CliRunner().invoke(app, [*verb, *allowed], catch_exceptions=False)
    assert done.exit_code == 0
    assert tuple(word for word in noted.arguments if word == "--allow-changed") == allowed


@pytest.mark.parametrize("verb", [["resume"], ["jobs", "resume"]])
@pytest.mark.parametrize("trials", ["+٣", "3", "+-1", "+1234567", "+"])
def test_more_trials_are_written_one_way_in_every_verb(verb, trials, noted):
    with pytest.raises(UserError) as error:
        CliRunner().invoke(app, [*verb, "s", "--trials", trials], catch_exceptions=False)
    assert str(error.value) == f"--trials {trials}: write how many more, up to +999999, as in --trials +10"


@pytest.mark.parametrize(("log", "goes_on"), [("Error: no data\n", False), (f"{PREFIX}{json.dumps(STATUS)}\n", True)])
def test_a_stop_names_the_way_on_of_a_sweep_that_has_begun(log, goes_on, capsys):
    show_stopped(Job("s", "s", "/shared", Noted(log)), "stopped")
    assert ("Go on with: " in capsys.readouterr().out) == goes_on


def test_the_end_of_a_followed_job_names_its_store(capsys):
    best = {"trial": "0000", "method": "beta", "metrics": {"val/elbo": 1.0}}
    result = {"name": "s", "n_trials": 1, "stop_reasons": {"completed": 1}, "epochs": 2, "best": best}
    for uri, words in (
        ("sqlite:////shared/my runs.db", "--tracking-uri 'sqlite:////shared/my runs.db'"),
        ("", "with the sweep's --tracking-uri (if none was named, the head's MLFLOW_TRACKING_URI, else "
             "sqlite:////shared/mlflow.db)"),
    ):  # fmt: skip
        job = Job("s", "s", "/shared", Noted(state="succeeded"), tracking_uri=uri)
        assert show_followed(job, Followed(job.info(), STATUS, result, ""), "table") == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith(f" best --sweep s --export best.yaml {words}")


def test_what_would_be_sent_is_listed_and_nothing_is_started(cli, tmp_path):
    """No cluster has to be there for it."""
    (tmp_path / "nets.py").write_text("import blocks")
    (tmp_path / "blocks.py").write_text("x = 1\n")
    (tmp_path / "spec.yaml").write_text("config: {model: {kind: 'nets:make'}}\nname: s\nstorage: /shared\n")
    asked = ("submit", "spec.yaml", "--cluster", "http://127.0.0.1:1", "--plan")
    listed = json.loads(cli(tmp_path, *asked, "--format", "json").out)
    assert [(file["name"], file["bytes"]) for file in listed["files"]] == [("blocks.py", 6), ("nets.py", 13)]
    assert (listed["sweep"], listed["cluster"]) == ("s", "http://127.0.0.1:1")
    table = cli(tmp_path, *asked).out
    assert all(file["from"] in "".join(table.split()) for file in listed["files"])
