"""Results that standard output does not take: one sentence and exit 1, whoever prints them."""

import os
import sys
from pathlib import Path

import pytest

from tuner import cli


@pytest.fixture
def printed_to(monkeypatch, tmp_path):
    """printed_to(file, *arguments) → the exit code of `vae-tuner`, whose standard output that is."""
    monkeypatch.chdir(tmp_path)

    def run(file, *arguments):
        monkeypatch.setattr(sys, "argv", ["vae-tuner", *arguments])
        monkeypatch.setattr(sys, "stdout", file)
        return cli.run()

    return run


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("spaces",), ("spaces", "geco"), ("spaces", "--format", "json"), ("init",), ("status",)],
)
def test_a_full_disk_is_told_in_a_sentence(arguments, printed_to, capfd):
    with Path("/dev/full").open("w") as full:
        assert printed_to(full, *arguments) == 1
    told = "Error: the result cannot be written to standard output: No space left on device\n"
    assert capfd.readouterr() == ("", told)


def test_a_reader_who_has_seen_enough_is_told_nothing(printed_to, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        assert printed_to(pipe, "spaces") == 1
    assert capfd.readouterr() == ("", "")


def test_another_fault_is_not_taken_for_one_of_the_output(printed_to, monkeypatch):
    def failed():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "_command", failed)
    with pytest.raises(OSError, match="No space"), Path(os.devnull).open("w") as nowhere:
        printed_to(nowhere)
