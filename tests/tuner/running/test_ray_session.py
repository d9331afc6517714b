"""What Ray is started with, and what of its talk reaches the user."""

import os
import subprocess
import sys

import pytest

from trainables.errors import StorageError
from tuner.running.ray_address import secrets
from tuner.running.ray_session import start_ray, stdout_on_stderr, without

SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN", "PGPASSWORD", "HF_TOKEN", "X_API_KEY")
OF_STORAGES = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "GOOGLE_APPLICATION_CREDENTIALS")
HARMLESS = ("PGHOST", "RAY_AUTH_TOKEN", "TOKENIZERS_PARALLELISM", "KEYBOARD", "MLFLOW_HTTP_REQUEST_TIMEOUT")


@pytest.fixture
def many_variables(monkeypatch):
    for name in (*SECRETS, *OF_STORAGES, *HARMLESS):
        monkeypatch.setenv(name, "value")


@pytest.mark.usefixtures("many_variables")
def test_secrets_are_told_from_the_rest_and_storages_keys_are_for_storages():
    assert {*SECRETS, *OF_STORAGES} <= {*secrets(but_for_storage=False)}
    assert {*SECRETS} <= {*secrets(but_for_storage=True)}
    assert not {*OF_STORAGES, *HARMLESS} & {*secrets(but_for_storage=True)}
    assert not {*HARMLESS} & {*secrets(but_for_storage=False)}


@pytest.mark.parametrize("raised", [Exception, RuntimeError, OSError])
def test_a_ray_that_does_not_come_up_is_told_in_a_sentence(raised, monkeypatch, sweeps):
    """On an overloaded machine Ray raises a bare Exception."""

    def init(**options):
        raise raised("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(StorageError, match=r"^Ray cannot be started: The current node timed out during startup\.; is"):
        start_ray(sweeps.plan("s"))


@pytest.mark.usefixtures("many_variables")
def test_variables_are_away_for_a_while_and_all_else_stays():
    before = dict(os.environ)
    meanwhile = {}

    def start():
        with without(SECRETS):
            meanwhile.update(os.environ)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start()
    assert meanwhile == {name: value for name, value in before.items() if name not in SECRETS}
    assert dict(os.environ) == before


def test_what_ray_says_of_lost_workers_is_left_to_the_journal_and_nothing_else():
    code = (
        "from tuner.running.ray_session import stdout_on_stderr\n"
        "with stdout_on_stderr():\n"
        "    print('(raylet) The node with node id: 0f has been marked dead because the detector …\\n a second line')\n"
        "    print('(raylet) The disk is full.')\n"
        "    print('(raylet) A worker died or was killed while executing a task by an unexpected system error.')\n"
        "print('result')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr == "(raylet) The disk is full.\n"


def test_what_ray_prints_where_nobody_reads_ends_nothing():
    code = (
        "import os\n"
        "from tuner.running.ray_session import stdout_on_stderr\n"
        "with stdout_on_stderr():\n"
        "    print('(raylet) The disk is full.', flush=True)\n"
        "print('result')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, text=True, check=False)
    os.close(writing)
    assert done.stdout == "result\n"


def test_standard_output_is_itself_again(capfd):
    before = sys.stdout
    with stdout_on_stderr():
        os.write(1, b"of Ray\n")
    assert sys.stdout is before
    os.write(1, b"ours\n")
    assert capfd.readouterr() == ("ours\n", "of Ray\n")
