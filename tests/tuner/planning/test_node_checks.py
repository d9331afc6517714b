"""What one node says of itself, and how the answers of all become one message."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.object_storage import RemoteFolder
from tuner.planning import node_checks
from tuner.planning.node_checks import Fault, NodeReport, asking, faults_by_node, look_around, versions

SHARE = "mount one storage on every node, or choose one that all share with --storage"


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "sweeps").mkdir()
    return tmp_path / "sweeps"


def found(storage, tmp_path, *, node="", data=None, models=(), data_dir="data/of/mine"):
    """The faults of a node. node: a folder it sees in the storage's place."""
    with asking(str(storage), tmp_path / data_dir, data, models) as question:
        look = look_around(question._replace(storage=str(node or storage)))
    return list(look.faults)


def test_a_node_that_shares_the_storage_and_has_all_has_no_fault_and_keeps_nothing(storage, tmp_path, nets):
    data = tmp_path / "faces.npz"
    data.touch()
    before = sorted(tmp_path.rglob("*"))
    with asking(str(storage), tmp_path / "data", str(data), (f"{nets}:make",)) as question:
        look = look_around(question)
    assert look.faults == ()
    assert 0 < look.free <= shutil.disk_usage(tmp_path).total
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before


def test_another_disk_under_the_same_path_is_known_by_what_the_driver_wrote(storage, tmp_path):
    (tmp_path / "other").mkdir()
    (fault,) = found(storage, tmp_path, node=tmp_path / "other")
    assert fault == (f"storage {tmp_path}/other is not the one that the driver writes to", SHARE)
    (fault,) = found(storage, tmp_path, node=tmp_path / "nowhere")
    assert fault.fix == SHARE


def test_the_same_holds_for_object_storage(tmp_path):
    with asking(f"file://{tmp_path}/bucket", tmp_path, None, ()) as question:
        assert look_around(question).faults == ()
        other = look_around(question._replace(storage=f"file://{tmp_path}/other"))
        assert [fault.says for fault in other.faults] == [
            f"storage file://{tmp_path}/other is not the one that the driver writes to"
        ]
    assert RemoteFolder(f"file://{tmp_path}/bucket").names() == []


def test_storage_that_a_node_can_read_and_not_write_is_named(storage, tmp_path, monkeypatch):
    write, n = Path.write_bytes, []

    def once(file, content):
        """The driver may, the node may not."""
        n.append(file)
        if len(n) > 1:
            raise PermissionError(13, "Permission denied", str(file))
        write(file, content)

    monkeypatch.setattr(Path, "write_bytes", once)
    (fault,) = found(storage, tmp_path)
    assert fault.says == (
        f"storage {storage} cannot be used: {storage} cannot be written: Permission denied; check the path and its "
        "permissions"
    )


def test_versions_that_differ_are_named_with_both(storage, tmp_path, monkeypatch):
    ours = versions()
    assert set(ours) == {"Python", "vae-tuner", "ray", "torch"}
    with asking(str(storage), tmp_path, None, ()) as question:
        monkeypatch.setattr(node_checks, "versions", lambda: {**ours, "torch": "2.0.0", "vae-tuner": "missing"})
        look = look_around(question)
    assert look.faults == (
        Fault(
            f"vae-tuner is missing, not {ours['vae-tuner']}, torch is 2.0.0, not {ours['torch']}",
            "install the same versions on every node",
        ),
    )


def test_data_that_a_node_cannot_read_or_prepare_are_named(storage, tmp_path):
    (tmp_path / "file").touch()
    faults = found(storage, tmp_path, data=f"{tmp_path}/faces.npz", data_dir="file/data")
    folder = f"the data directory {tmp_path}/file/data cannot be written: Not a directory"
    file = f"data.name: {tmp_path}/faces.npz cannot be read"
    assert faults == [
        (folder, "choose another with --data-dir"),
        (file, "put it where every node reads it, as on the storage"),
    ]


def test_a_users_module_that_a_node_lacks_is_named(storage, tmp_path):
    (fault,) = found(storage, tmp_path, models=("no_such_module:make",))
    assert fault == (
        "model.kind: importing no_such_module:make raised ModuleNotFoundError: No module named 'no_such_module'",
        "install it on every node, or send the sweep with `vae-tuner submit`",
    )


def test_a_fault_is_told_once_with_the_nodes_that_have_it():
    disk, torch = Fault("another disk", "mount it"), Fault("torch is 2", "install it")
    looks = [("10.0.0.1", NodeReport(())), ("10.0.0.2", NodeReport((disk, torch))), ("10.0.0.3", NodeReport((disk,)))]
    assert [str(error) for error in faults_by_node(looks)] == [
        "nodes: on 10.0.0.2, 10.0.0.3: another disk; mount it",
        "nodes: on 10.0.0.2: torch is 2; install it",
    ]
    assert faults_by_node([("10.0.0.1", NodeReport(()))]) == []


def test_a_question_leaves_nothing_behind_when_asking_fails(storage, tmp_path):
    seen = []

    def ask():
        with asking(str(storage), tmp_path, None, ()):
            seen.extend(storage.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask()
    assert len(seen) == 1
    assert list(storage.iterdir()) == []


def test_what_nodes_import_of_it_is_light():
    """A node answers in seconds: its module needs no torch."""
    code = "import sys, tuner.planning.node_checks; sys.exit(bool({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
