"""What Ray is started with, and what of its talk reaches the user."""

import os
import subprocess
import sys

import pytest

from tuner.ray_session import _without_secrets, stdout_on_stderr


def test_secrets_are_away_for_a_while_and_all_else_stays(monkeypatch):
    secrets = {"MLFLOW_TRACKING_PASSWORD": "a", "DATABRICKS_TOKEN": "b", "PGPASSWORD": "c"}
    for name, value in {**secrets, "PGHOST": "here"}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    meanwhile = {}

    def start():
        with _without_secrets():
            meanwhile.update(os.environ)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start()
    assert meanwhile == {name: value for name, value in before.items() if name not in secrets}
    assert dict(os.environ) == before


def test_what_ray_says_of_lost_workers_is_left_to_the_journal_and_nothing_else():
    code = (
        "from tuner.ray_session import stdout_on_stderr\n"
        "with stdout_on_stderr():\n"
        "    print('(raylet) The node with node id: 0f has been marked dead because the detector …\\n a second line')\n"
        "    print('(raylet) The disk is full.')\n"
        "    print('(raylet) A worker died or was killed while executing a task by an unexpected system error.')\n"
        "print('result')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr == "(raylet) The disk is full.\n"


def test_standard_output_is_itself_again(capfd):
    before = sys.stdout
    with stdout_on_stderr():
        os.write(1, b"of Ray\n")
    assert sys.stdout is before
    os.write(1, b"ours\n")
    assert capfd.readouterr() == ("ours\n", "of Ray\n")
