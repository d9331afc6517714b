"""A line of progress that nobody reads, or that fits on no disk, ends nothing."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.cli.forgiving_stderr import ForgivingStream, forgiving_stderr

PRINTS = """
import sys
from rich.progress import Progress
from tuner.cli.console import err
from tuner.cli.forgiving_stderr import forgiving_stderr

with forgiving_stderr():
    err().print("a line")
    with Progress(console=err()) as bar:
        bar.advance(bar.add_task("epochs", total=2))
    print("of others", file=sys.stderr)
    sys.stderr.write("x" * 100_000)
print("trained")
"""


def _closed_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _closed_terminal():
    master, slave = pty.openpty()
    os.close(master)
    return slave


def _full_disk():
    return os.open("/dev/full", os.O_WRONLY)


BROKEN = {"a pipe without a reader": _closed_pipe, "a closed terminal": _closed_terminal, "a full disk": _full_disk}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN)
def broken(request):
    file = request.param()
    yield file
    os.close(file)


def run(**streams):
    """A program that tells how it goes on stderr, and its result on stdout."""
    return subprocess.run([sys.executable, "-c", PRINTS], text=True, check=False, **streams)


def test_what_cannot_be_written_ends_nothing(broken):
    done = run(stdout=subprocess.PIPE, stderr=broken)
    assert (done.returncode, done.stdout) == (0, "trained\n")


def test_what_can_be_written_arrives_whole_and_in_order():
    done = run(capture_output=True)
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr.startswith("a line\n")
    assert done.stderr.endswith("of others\n" + "x" * 100_000)


def test_a_stream_that_a_shell_has_closed_is_no_place_for_another_file(tmp_path):
    code = (
        "from tuner.cli.forgiving_stderr import forgiving_stderr\n"
        "with forgiving_stderr():\n"
        "    import os, sys\n"
        "    kept = open('kept', 'w')\n"
        "    print('a line', file=sys.stderr)\n"
        "    print('a result')\n"
        "    os.write(1, b'of a library'), os.write(2, b'of a library')\n"
    )
    shell = 'exec "$0" -c "$1" >&- 2>&- <&-'
    done = subprocess.run(["bash", "-c", shell, sys.executable, code], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "kept").read_text() == ""


def test_on_a_disk_with_room_again_the_next_line_is_written(tmp_path):
    with Path("/dev/full").open("w") as full, (tmp_path / "log").open("w") as log:
        stream = ForgivingStream(full)
        stream.write("lost")
        os.dup2(log.fileno(), full.fileno())
        stream.write("ä line\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "ä line\n"


def test_a_stream_without_a_file_stays_as_it_is_and_each_comes_back(monkeypatch, capsys):
    before = sys.stderr
    with forgiving_stderr():
        print("seen", file=sys.stderr)
    assert sys.stderr is before
    assert capsys.readouterr().err == "seen\n"


def test_a_reader_who_stops_reading_holds_up_nothing_and_hears_again_later():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        forgiving = ForgivingStream(stream)
        for _ in range(1000):
            forgiving.write("x" * 999 + "\n")
        held = os.read(reading, 1 << 20)
        assert 0 < len(held) < 1_000_000
        forgiving.write("later\n")
    with os.fdopen(reading, "rb") as rest:
        assert rest.read().endswith(b"later\n")
