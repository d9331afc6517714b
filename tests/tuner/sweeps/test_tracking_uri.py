import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from http_server import serving

from trainables.credentials import shown
from trainables.errors import UserError
from tuner.sweeps.tracking_uri import cause_of, resolve_uri, sqlite_path
from tuner.tracking.reachability import check_reachable


@pytest.fixture(autouse=True)
def _no_uri_of_the_users_own(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_explicit_uri_wins_then_the_environment_then_the_working_directory(monkeypatch, tmp_path):
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert resolve_uri(None, tmp_path) == "http://host:5000"
    assert resolve_uri("sqlite:///sub/x.db", tmp_path) == f"sqlite:///{tmp_path}/sub/x.db"


def test_an_absolute_database_stays_where_it_is(tmp_path):
    uri = f"sqlite:///{tmp_path}/x.db"
    assert resolve_uri(uri, Path("/elsewhere")) == uri
    assert sqlite_path(uri) == tmp_path / "x.db"
    assert sqlite_path("postgresql+psycopg2://u@host/db") is None


@pytest.mark.parametrize("uri", ["localhost:5000", "./mlruns", "mlflow.db", "ftp://host", "file:mlruns"])
def test_what_is_no_server_or_database_is_refused(uri, tmp_path):
    with pytest.raises(UserError, match=r"http://host:5000.*sqlite:///mlflow.db"):
        resolve_uri(uri, tmp_path)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_a_database_in_memory_would_be_lost_with_its_process(uri, tmp_path):
    with pytest.raises(UserError) as error:
        resolve_uri(uri, tmp_path)
    assert str(error.value) == (
        f"tracking URI {uri!r} is a database in memory, which ends with its process; give a file as sqlite:///mlflow.db"
    )


@pytest.mark.parametrize("uri", ["ftp://me:SECRET@h", "http://me:SECRET@[h", "sqlite:///:memory:?key=SECRET"])
def test_what_cannot_be_used_is_named_without_its_password(uri, tmp_path):
    with pytest.raises(UserError) as error:
        resolve_uri(uri, tmp_path)
    assert repr(shown(uri)) in str(error.value)
    assert "SECRET" not in str(error.value)


def test_no_password_is_printed_in_an_error_that_quotes_it():
    error = ConnectionError("Max retries exceeded with url: http://bob:SECRET@host?a=1&sig=SECRET (refused)\nand so on")
    assert cause_of(error) == "Max retries exceeded with url: http://***@host?a=1&sig=*** (refused)"


def test_an_error_without_a_text_is_called_by_its_name():
    assert cause_of(TimeoutError()) == "TimeoutError"


def test_a_server_that_is_down_is_named_with_the_way_out():
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=f"{uri}.*refused.*start the server.*--tracking-uri"):
        check_reachable(uri)


def test_a_server_that_never_answers_is_given_up():
    told = r"tracking server .* (gave no answer within 0\.3 seconds|cannot be reached \(timed out\))"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match=told):
        check_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.3)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_access_is_told_apart_from_one_that_is_down(status):
    with (
        serving(lambda *asked: (status, {})) as host,
        pytest.raises(UserError, match=f"refused access.*{status}.*MLFLOW_TR"),
    ):
        check_reachable(f"http://{host}")


@pytest.mark.parametrize(
    ("status", "content_type"), [(200, "text/html"), (404, "text/html"), (503, "application/json")]
)
def test_a_server_that_is_not_mlflow_is_refused(status, content_type):
    with serving(lambda *asked: (status, {}, content_type)) as host, pytest.raises(UserError, match=f"{host} answer"):
        check_reachable(f"http://{host}")


def test_a_server_that_answers_is_reachable():
    with serving(lambda *asked: (200, {})) as host:
        check_reachable(f"http://{host}")


def test_looking_at_a_database_creates_nothing(tmp_path):
    check_reachable(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "path", "message"),
    [
        (lambda folder: None, "missing/mlflow.db", "folder .*missing does not exist"),
        (lambda folder: (folder / "notes.txt").write_text("these are my notes"), "notes.txt", "not an SQLite database"),
        (
            lambda folder: (folder / "sub").mkdir(),
            "sub",
            "sub is a folder; name a file in it: sqlite:///.*sub/mlflow.db",
        ),
    ],
)
def test_a_database_that_cannot_be_used_is_named(make: Callable[[Path], object], path: str, message: str, tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        check_reachable(f"sqlite:///{tmp_path}/{path}")
