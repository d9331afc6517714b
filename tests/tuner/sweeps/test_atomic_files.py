import json
import os

import pytest

from trainables.errors import UserError
from tuner.sweeps.atomic_files import held_alone, write_json


def test_one_process_at_a_time_holds_a_comparison(tmp_path):
    folder = tmp_path / "sweeps" / "c"
    with held_alone(folder), pytest.raises(UserError, match=rf"^comparison c is held by process {os.getpid()} on "):
        held_alone(folder).__enter__()
    with held_alone(folder):
        assert folder.is_dir()


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "sweeps").write_text("")
    with pytest.raises(UserError, match=r"^storage: .*/sweeps/c cannot be written: Not a directory; choose another"):
        held_alone(tmp_path / "sweeps" / "c").__enter__()


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
