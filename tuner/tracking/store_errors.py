"""What a store raises that cannot be opened or queried, as one sentence with the way out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote
from typing import Concatenate, ParamSpec, TypeVar

from trainables.credentials import shown
from trainables.errors import UserError
from tuner.sweeps.tracking_uri import cause_of
from tuner.tracking.database_file import check_undamaged

DRIVERS = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""The packages of modules that SQLAlchemy imports, where they are called otherwise."""

GivenT = ParamSpec("GivenT")
ResultT = TypeVar("ResultT")


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Raises UserError for whatever MLflow, its HTTP client or a database's driver raises of the store at `uri`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        check_undamaged(uri)
        raise UserError(f"tracking {shown(uri)} cannot be queried: {cause_of(error)}; {_way_out(uri, error)}") from None


def in_a_sentence(
    function: Callable[Concatenate[str, GivenT], ResultT],
) -> Callable[Concatenate[str, GivenT], ResultT]:
    """The same for all that a function asks of the store whose URI is its first argument."""

    @functools.wraps(function)
    def asked(uri: str, /, *args: GivenT.args, **kwargs: GivenT.kwargs) -> ResultT:
        with answering(uri):
            return function(uri, *args, **kwargs)

    return asked


def _way_out(uri: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"pip install {DRIVERS.get(str(error.name), error.name)}"
    if "db upgrade" in str(error):
        return f"if it is of an older MLflow: mlflow db upgrade {quote(shown(uri))}"
    if uri.startswith("databricks"):
        return "set DATABRICKS_HOST and DATABRICKS_TOKEN, or write them down with `databricks configure`"
    if uri.startswith("http"):
        return "name an MLflow server with --tracking-uri"
    return "check driver, host, user, password and name of the database, or name another store with --tracking-uri"
