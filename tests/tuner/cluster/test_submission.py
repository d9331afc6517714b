"""Where a job's state and records go, what it is called, and what is refused before anything is sent."""

from pathlib import Path

import numpy as np
import pytest

from search_spaces.catalogue import space_names
from trainables.errors import UserError
from trainables.object_storage import RemoteFolder
from tuner.cluster.backend import JobInfo
from tuner.cluster.backend_choice import backend_of, cluster_address
from tuner.cluster.submission import planned_submission, submit_resume, submit_sweep
from tuner.sweeps.journal import JOURNAL, bytes_of
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.yaml_files import read_yaml

URL = "http://127.0.0.1:8265"


class Kept:
    """A backend that only writes down what it is given."""

    def __init__(self, cluster=URL, known=()):
        self.cluster, self.known, self.orders = cluster, list(known), []

    def jobs(self):
        return self.known

    def submit(self, order):
        self.orders.append(order)
        spec = order.folder / "spec.yaml"
        self.spec = read_yaml(spec) if spec.exists() else None
        self.files = sorted(path.name for path in order.folder.rglob("*") if path.is_file())


def known(job_id, state, storage="/old/sweeps"):
    return JobInfo(job_id, "s", storage, state, 1.0, None)


def submitted(tree, tmp_path, cluster=URL, jobs=()):
    backend = Kept(cluster, jobs)
    job = submit_sweep(parse_spec({"name": "s", "storage": "/shared/sweeps", **tree}), backend, tmp_path)
    return job, backend


@pytest.fixture
def finished(tmp_path, written_journal):
    """finished("folder" | "objects") → a storage with a sweep `s` that has nothing left to do."""
    journal = written_journal()
    spec = {"search": {"trials": 1}, "tracking": {"experiment": "vae-tuner"}}
    journal.events[0] |= {"spec": spec, "space": {}, "epochs": 1, "rungs": [], "scheduler": {"kind": "none"}}
    journal.trial("0000", [1.0], "completed")
    journal.add("finish", reason="completed")

    def write(kind):
        if kind == "objects":
            place = RemoteFolder(tmp_path.as_uri()) / "bucket"
            (place / "s" / "journal").write(f"000001-a-{0:09}-{len(journal.events):09}.jsonl", bytes_of(journal.events))
            return str(place)
        (tmp_path / "sweeps" / "s").mkdir(parents=True)
        (tmp_path / "sweeps" / "s" / JOURNAL).write_bytes(bytes_of(journal.events))
        return str(tmp_path / "sweeps")

    return write


def test_a_cluster_gets_a_whole_spec_and_one_command(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here:5000")
    job, backend = submitted({"search": {"trials": 3}}, tmp_path)
    (order,) = backend.orders
    assert (job.id, job.sweep, order.id, order.sweep, order.storage) == ("s", "s", "s", "s", "/shared/sweeps")
    assert " ".join(order.arguments) == ("sweep spec.yaml --ray-address auto --storage /shared/sweeps --format json")
    assert order.tracking_default == "sqlite:////shared/sweeps/mlflow.db"
    assert (backend.spec["name"], backend.spec["search"]["trials"]) == ("s", 3)
    parse_spec(backend.spec)


def test_a_store_that_is_named_goes_into_the_spec(tmp_path):
    _, backend = submitted({"tracking": {"uri": "http://server:5000"}}, tmp_path)
    assert (backend.spec["tracking"]["uri"], backend.orders[0].tracking_default) == ("http://server:5000", None)


def test_object_storage_has_no_place_for_a_database(tmp_path):
    assert submitted({"storage": "s3://bucket/sweeps"}, tmp_path)[1].orders[0].tracking_default == ""


def test_this_machine_keeps_state_and_records_where_it_was_submitted(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _, backend = submitted({"storage": "./sweeps"}, tmp_path, "local")
    (order,) = backend.orders
    assert " ".join(order.arguments) == f"sweep spec.yaml --storage {tmp_path}/sweeps --format json"
    assert order.tracking_default == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here:5000")
    job, backend = submitted({}, tmp_path, "local")
    assert backend.orders[0].tracking_default == job.tracking_uri == "http://here:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hush@here:5000")
    assert submitted({}, tmp_path, "local")[0].tracking_uri == "", "it would stand in the commands that are printed"


def test_ids_count_on_from_the_name(tmp_path):
    jobs = [known("s", "failed")]
    assert submitted({}, tmp_path, jobs=jobs)[0].id == "s-2"
    assert submitted({}, tmp_path, jobs=[*jobs, known("s-2", "stopped")])[0].id == "s-3"


def test_a_sweep_without_a_name_gets_one_by_which_it_can_be_resumed(tmp_path):
    tree = {"name": None, "space": "geco+batch-size", "config": {"data": {"name": "/far/my faces.npz"}}}
    names = {submitted(tree, tmp_path)[0].sweep for _ in range(3)}
    assert len(names) == 3
    assert {name[:-4] for name in names} == {"geco-batch-size-my-faces-"}


def test_a_resume_asks_for_the_storage_only_where_it_is_not_known(tmp_path):
    (tmp_path / "nets.py").write_text("")
    backend = Kept(known=[known("s", "stopped")])
    job = submit_resume("s", backend, tmp_path, model="nets:make", more_trials=5)
    (order,) = backend.orders
    assert (job.id, order.sweep, backend.files) == ("s-2", "s", ["nets.py"])
    assert " ".join(order.arguments) == ("resume s --model nets:make --trials +5 --storage /old/sweeps --format json")
    assert job.resume_command == (f"vae-tuner jobs resume s --cluster {URL} --storage /old/sweeps --model nets:make")
    submit_resume("s", backend, tmp_path, storage="/new")
    assert backend.orders[-1].arguments == ("resume", "s", "--storage", "/new", "--format", "json")
    submit_resume("s", backend, tmp_path, storage="/new", allow_changed=True)
    assert backend.orders[-1].arguments == ("resume", "s", "--allow-changed", "--storage", "/new", "--format", "json")
    with pytest.raises(UserError) as error:
        submit_resume("other", backend, tmp_path)
    assert str(error.value) == (
        f"{URL} knows no job of sweep other, as after the loss of its head; say where its state is, as in --storage "
        "/shared/sweeps, or --storage s3://bucket/sweeps"
    )


# --- refused ----------------------------------------------------------------------------------------------------------


def refused(tree, tmp_path, cluster=URL):
    with pytest.raises(UserError) as error:
        submitted(tree, tmp_path, cluster)
    return str(error.value)


def test_a_folder_that_other_nodes_lack_is_refused(tmp_path):
    assert refused({"storage": "./sweeps"}, tmp_path) == (
        "storage: ./sweeps is a folder of this machine; name one that every node of the cluster sees, as in --storage "
        "/shared/sweeps, or --storage s3://bucket/sweeps"
    )
    assert refused({"tracking": {"uri": "sqlite:///mlflow.db"}}, tmp_path) == (
        "tracking URI sqlite:///mlflow.db is a file of this machine; name a server, or a file that the head keeps, as "
        "in sqlite:////shared/mlflow.db"
    )


@pytest.mark.parametrize("cluster", [URL, "local"])
def test_a_password_is_not_handed_over(cluster, tmp_path):
    where = {"local": "this shell"}.get(cluster, "the head")
    uri = "http://me:secret@host:5000"
    message = (
        "tracking URI http://***@host:5000 holds a name, a password or a key, which the job would show; leave them "
        "out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or all of it as MLFLOW_TRACKING_URI, in "
        f"the environment of {where}"
    )
    assert refused({"tracking": {"uri": uri}}, tmp_path, cluster) == message
    with pytest.raises(UserError) as error:
        submit_resume("s", Kept(cluster), tmp_path, storage="/shared", tracking_uri=uri)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "storage",
    ["/old/sweeps/", "/old//sweeps", "/old/x/../sweeps", "//old/sweeps", "s3://b/s/", "s3://b/s/?region=eu"],
)
def test_a_storage_spelled_otherwise_is_the_same(storage, tmp_path):
    kept = "/old/sweeps", "s3://b/s", "s3://b/s?region=eu"
    jobs = [JobInfo(f"s-{n}", "s", place, "running", 1.0, None) for n, place in enumerate(kept)]
    with pytest.raises(UserError, match=r"^sweep s runs in job "):
        submitted({"storage": storage}, tmp_path, jobs=jobs)
    with pytest.raises(UserError, match=r"^sweep s runs in job "):
        submit_resume("s", Kept(known=jobs), tmp_path, storage=storage)


@pytest.mark.parametrize("storage", ["s3://", "s3:///", "file:///"])
def test_a_uri_without_a_place_is_not_made_a_folder(storage, tmp_path):
    assert submitted({"storage": storage}, tmp_path)[1].orders[0].storage == storage


def test_a_resume_names_the_models_of_one_of_the_jobs_before(tmp_path):
    """Another submission under the name may have been refused there, or be of a sweep that was removed since."""
    jobs = [
        JobInfo(f"s-{n}", "s", "/old/sweeps", "failed", float(n), 9.0, factories=(kind,))
        for n, kind in enumerate(("nets:a", "nets:b"))
    ]
    for kind in ("nets:a", "nets:b"):
        assert submit_resume("s", Kept(known=jobs), tmp_path, model=kind).factories == (kind,)
    with pytest.raises(UserError, match="this sweep runs the code of nets:b; "):
        submit_resume("s", Kept(known=jobs), tmp_path)


def test_a_resume_names_every_model_that_the_sweep_was_submitted_with(tmp_path):
    with_code = JobInfo("s", "s", "/old/sweeps", "failed", 1.0, 2.0, factories=("nets:a", "nets:b"))
    backend = Kept(known=[with_code, known("s-2", "failed")])
    message = "this sweep runs the code of nets:a and nets:b; if you trust it, name it: --model nets:a --model nets:b"
    for model in (None, "nets:a"):
        with pytest.raises(UserError) as error:
            submit_resume("s", backend, tmp_path, model=model)
        assert str(error.value) == message
    job = submit_resume("s", backend, tmp_path, model=["nets:a", "nets:b"])
    assert backend.orders[-1].arguments[2:6] == ("--model", "nets:a", "--model", "nets:b")
    assert job.resume_command.endswith(" --model nets:a --model nets:b")


def test_a_model_that_is_not_here_is_told(tmp_path):
    (tmp_path / "nets.py").touch()
    tree = {"space": {"use": ["lr"], "model.kind": {"choice": ["nets:make", "packaged.nets:make"]}}}
    job, backend = submitted(tree, tmp_path)
    note = (
        "packaged.nets:make is not sent, as this folder holds no such module: it has to be installed where the job runs"
    )
    assert job.notes == [note]
    assert submit_resume("s", backend, tmp_path, storage="/shared", model="packaged.nets:make").notes == [note]
    assert submit_resume("s", backend, tmp_path, storage="/shared", model="nets:make").notes == []


def test_a_resume_waits_for_the_job_before(tmp_path):
    backend = Kept(known=[known("s", "stopped"), known("s-2", "running")])
    with pytest.raises(UserError, match=r"^sweep s runs in job s-2; stop that first, or wait for its end$"):
        submit_resume("s", backend, tmp_path)
    assert submit_resume("s", backend, tmp_path, storage="/other").id == "s-3"
    with pytest.raises(UserError, match=r"^sweep s runs in job s-2; "):
        submitted({"storage": "/old/sweeps"}, tmp_path, jobs=backend.known)


@pytest.mark.parametrize("name", ["../s", "", "a b", "s;ls"])
def test_only_names_of_sweeps_are_resumed(name, tmp_path):
    with pytest.raises(UserError, match="is not the name of a sweep; `vae-tuner jobs list` lists the jobs"):
        submit_resume(name, Kept(), tmp_path, storage="/shared")


@pytest.mark.parametrize("cluster", [URL, "local"])
@pytest.mark.parametrize(
    "uri", ["http://h:5000?api_key=hush", "http://h:5000?x=1&SIG=hush", "postgresql://h/db?user=me&password=hush"]
)
def test_a_key_in_the_query_of_a_store_is_not_handed_over(uri, cluster, tmp_path):
    message = refused({"tracking": {"uri": uri}}, tmp_path, cluster)
    assert message.startswith(f"tracking URI {uri.replace('hush', '***')} holds a name, a password or a key, which the")
    assert "hush" not in message


@pytest.mark.parametrize(
    "uri", ["s3://hush@bucket/s", "s3://b/s?key=hush", "gs://b/s?a=1&my_auth=hush", "s3://a:hush@b"]
)
def test_a_key_in_a_storage_is_not_handed_over(uri, tmp_path):
    with pytest.raises(UserError, match=r"^storage: ") as error:
        submit_resume("s", Kept(), tmp_path, storage=uri)
    assert "hush" not in str(error.value)


def test_what_is_no_key_in_a_uri_may_stay(tmp_path):
    store = "postgresql://h/db?sslcert=/etc/client"
    for storage in ("abfs://container@account.dfs.core.windows.net/s", "s3://b/s?endpoint_override=http://h:1"):
        _, backend = submitted({"storage": storage, "tracking": {"uri": store}}, tmp_path)
        assert (backend.orders[0].storage, backend.spec["tracking"]["uri"]) == (storage, store)


def test_what_is_no_uri_is_refused(tmp_path):
    assert "cannot be used" in refused({"tracking": {"uri": "http://[::1"}}, tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"batch_size": -3}, "batch_size: -3 is not allowed; allowed: greater than or equal to 1"),
        ({"lr": {"base": 0}}, "lr.base: 0 is not allowed; allowed: greater than 0"),
        (
            {"data": {"name": "mnits"}},
            "data.name: 'mnits' is not a known data set; did you mean `mnist`?; or a path to",
        ),
    ],
)
def test_a_field_that_no_data_make_right_is_refused(config, message, tmp_path):
    assert refused({"config": config, "space": "lr"}, tmp_path).startswith(message)


@pytest.mark.parametrize("space", space_names())
def test_every_space_passes_with_what_it_searches_fixed_or_not(space, tmp_path):
    for config in ({}, {"lr": {"base": 1e-3}, "batch_size": 64}, {"model": {"kind": "nets:make", "kwargs": {"a": 1}}}):
        submitted({"space": space, "config": config}, tmp_path)


def test_here_a_name_that_is_taken_and_one_that_no_sweep_has_are_refused_at_once(tmp_path, finished):
    finished("folder")
    message = refused({"storage": "sweeps"}, tmp_path, "local")
    assert message.startswith(f"name: sweep 's' exists in {tmp_path}/sweeps; see it with `vae-tuner best --sweep s`")
    with pytest.raises(UserError, match=rf"^name: no sweep 'nosuch' in {tmp_path}/sweeps"):
        submit_resume("nosuch", Kept("local"), tmp_path, storage="sweeps")
    assert submit_resume("s", Kept("local"), tmp_path, storage="sweeps", more_trials=1).id == "s"


@pytest.mark.parametrize("cluster", [URL, "local"])
@pytest.mark.parametrize("kind", ["folder", "objects"])
def test_what_cannot_go_on_is_refused_where_its_journal_can_be_read(cluster, kind, tmp_path, finished):
    storage = finished(kind)
    backend = Kept(cluster)
    with pytest.raises(UserError) as error:
        submit_resume("s", backend, tmp_path, storage=storage)
    assert str(error.value) == (
        "sweep s is finished; see it with `vae-tuner best --sweep s`, or add trials: vae-tuner resume s --trials +10"
    )
    assert backend.orders == []
    assert submit_resume("s", backend, tmp_path, storage=storage, more_trials=1).id == "s"


def test_what_is_not_seen_from_here_is_left_to_the_job(tmp_path, finished):
    storage = Path(finished("folder"))
    (storage / "s" / JOURNAL).unlink()
    for place in (str(storage), str(tmp_path / "none"), tmp_path.as_uri(), "nosuch://bucket/sweeps"):
        assert submit_resume("s", Kept(), tmp_path, storage=place).id == "s"


# --- which cluster ----------------------------------------------------------------------------------------------------


def test_the_cluster_is_the_one_asked_for_else_rays_own_variable_else_this_machine(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert cluster_address(None) == "local"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cluster_address(None) == "local"
    monkeypatch.setenv("RAY_ADDRESS", "http://a:1")
    assert cluster_address(None) == "http://a:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://b:2/")
    assert cluster_address(None) == "https://b:2"
    assert cluster_address("http://c:3") == "http://c:3"
    assert cluster_address("local") == "local"
    assert backend_of("local").cluster == "local"


@pytest.mark.parametrize(
    "cluster",
    ["auto", "ray://h:1", "h:8265", "ftp://h", "http://", "http://me:pw@h:1", "http://a b", "http://h:99999", "http://h:abc",
     "http://[::1", "http://a..b:8265", "http://h:0", "http://h?x"],
)  # fmt: skip
def test_what_is_no_cluster_is_refused(cluster):
    with pytest.raises(UserError) as error:
        cluster_address(cluster)
    assert str(error.value) == (
        f"--cluster {cluster.replace('me:pw', '***')}: allowed: local, or the address of Ray's dashboard, as in http://127.0.0.1:8265"
    )


def test_an_address_that_does_not_answer_names_the_ways_to_it():
    with pytest.raises(UserError) as error:
        backend_of("http://127.0.0.1:1").jobs()
    assert str(error.value) == (
        "no Ray dashboard answers at http://127.0.0.1:1 (Connection refused); open the way to the head with `ssh -L "
        "8265:localhost:8265 HEAD` or `ray attach cluster.yaml -p 8265`, or name another with --cluster"
    )


def test_local_jobs_are_kept_apart_by_user_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert backend_of("local").jobs() == []
    with pytest.raises(UserError, match=r"^no job 's' on this machine; there is none yet$"):
        backend_of("local").job("s")
    assert list(Path(tmp_path).iterdir()) == []


def test_a_spec_that_holds_a_secret_elsewhere_is_not_sent(tmp_path):
    tree = {"tracking": {"tags": {"store": "postgresql://me:hush@h/db"}}}
    assert refused(tree, tmp_path).startswith(
        "tracking.tags.store holds a name, a password or a key, which the journal"
    )


def test_what_would_be_sent_is_what_is_sent(tmp_path, monkeypatch):
    """No cluster is asked, and each file is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("import blocks")
    (tmp_path / "blocks.py").touch()
    np.save(tmp_path / "own.npy", np.zeros((3, 4)))
    tree = {"name": "s", "config": {"model": {"kind": "nets:make"}, "data": {"name": "own.npy"}}, "storage": "/shared"}
    ready = planned_submission(parse_spec(tree), URL, tmp_path)
    _, backend = submitted(tree, tmp_path)
    assert backend.orders[0].arguments == ready.arguments
    assert sorted(Path(name).name for name in ready.shipment.files) == ["blocks.py", "nets.py", "own.npy"]
    assert backend.files == ["blocks.py", "nets.py", "own.npy", "spec.yaml"]
