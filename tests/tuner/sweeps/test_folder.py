"""One folder a sweep, one process that holds it."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner.sweeps.folder import locked
from tuner.sweeps.storage import open_storage


def test_the_second_driver_is_told_who_the_first_is(tmp_path):
    hold = "import sys; from pathlib import Path; from tuner.sweeps.folder import locked\n"
    hold += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    root = str(Path(__file__).parents[3])
    first = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == "held\n"
    name = re.escape(f"process {first.pid} on {socket.gethostname()}")
    with pytest.raises(UserError, match=f"sweep {tmp_path.name} is held by {name}; wait for its end"), locked(tmp_path):
        pytest.fail("held twice")
    first.kill()
    first.communicate()
    with locked(tmp_path):
        owners = [json.loads(path.read_text()) for path in tmp_path.glob("owner-*")]
        assert [(owner["pid"], owner["host"]) for owner in owners] == [(os.getpid(), socket.gethostname())]


def test_a_name_of_a_finished_sweep_leads_to_its_best_and_a_free_name(sweeps):
    sweeps.run("s-1")
    sweeps.run("s-2")
    before = sweeps.events("s-1")
    with pytest.raises(UserError) as error:
        sweeps.run("s-1")
    assert str(error.value) == (
        f"name: sweep 's-1' exists in {sweeps.storage}; see it with `vae-tuner best --sweep s-1`, or choose a free "
        "name such as s-3"
    )
    assert sweeps.events("s-1") == before


def test_a_name_of_a_sweep_that_was_cut_short_leads_to_its_resume(sweeps):
    sweeps.run("s")
    sweeps.cut("s", 4)
    with pytest.raises(UserError) as error:
        sweeps.run("s")
    assert str(error.value) == (
        f"name: sweep 's' exists in {sweeps.storage} and was cut short; go on with `vae-tuner resume s`, or choose a "
        "free name: s-1"
    )


@pytest.mark.parametrize(
    "left", [[], ["lock"], ["lock", "owner-000001.json", "spec.yaml"], ["lock", "owner", "journal.jsonl"]]
)
def test_what_a_start_that_died_left_is_taken_over(left, sweeps):
    (sweeps.storage / "s").mkdir(parents=True)
    for name in left:
        (sweeps.storage / "s" / name).write_text('{"seq": 0, "ses' if name == "journal.jsonl" else "")
        os.utime(sweeps.storage / "s" / name, (1, 1))  # long ago: whoever held it has given no sign since
    assert sweeps.run("s").finished == "completed"
    assert sweeps.events("s")[0]["event"] == "header"


@pytest.mark.parametrize("left", ["thesis.tex", "trials"])
def test_a_folder_of_anything_else_is_not_touched(left, sweeps):
    (sweeps.storage / "s").mkdir(parents=True)
    (sweeps.storage / "s" / left).touch()
    with pytest.raises(UserError, match="exists"):
        sweeps.run("s")
    assert [path.name for path in (sweeps.storage / "s").iterdir()] == [left]


def test_a_file_of_that_name_is_not_a_folder(sweeps):
    sweeps.storage.mkdir()
    (sweeps.storage / "s").touch()
    with pytest.raises(UserError, match="exists"):
        sweeps.run("s")


def test_without_a_name_the_first_free_number_is_taken(sweeps):
    storage = open_storage(sweeps.storage)
    with storage.new(None, "lr-digits") as first, storage.new(None, "lr-digits") as second:
        assert [first.folder.name, second.folder.name] == ["lr-digits-1", "lr-digits-2"]


def test_a_storage_that_is_no_folder_is_named(sweeps):
    sweeps.storage.touch()
    with pytest.raises(UserError, match=r"storage: .* cannot be written: Not a directory; .*, or choose another"):
        sweeps.run("s")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "", ".hidden", "s\n", "x" * 65])
def test_names_stay_inside_the_storage(name, sweeps):
    with pytest.raises(UserError, match=r"name: .* is not allowed"):
        sweeps.run(name)
    with pytest.raises(UserError, match="name: no sweep"), open_storage(sweeps.storage).hold(name):
        pytest.fail("held")
    assert not sweeps.storage.exists()


def test_a_name_of_a_sweep_that_runs_is_not_said_to_be_cut_short(sweeps):
    sweeps.run("s")
    sweeps.cut("s", 4)
    with locked(sweeps.storage / "s"), pytest.raises(UserError) as error:
        sweeps.run("s")
    assert str(error.value) == (
        f"name: sweep 's' exists in {sweeps.storage} and runs; wait for its end, or choose a free name: s-1"
    )


def test_a_misspelt_name_is_corrected(sweeps):
    sweeps.run("annealing")
    with pytest.raises(UserError, match="did you mean `annealing`"), open_storage(sweeps.storage).hold("anealing"):
        pytest.fail("held")
