"""One list of what is secret, for every place that writes or prints a URI or a variable."""

from urllib.parse import quote

import pytest

from trainables.credentials import check_no_secrets, holds_secret, is_secret_name, shown, shown_uris
from trainables.errors import ConfigError

SECRET = "MARKED"
NAMES = (
    *("password", "passwd", "pwd", "pass", "sslpassword", "secret", "client_secret", "token", "access_token"),
    *("key", "api_key", "apikey", "access_key", "AccountKey", "sslkey", "sig", "X-Amz-Signature", "sas", "auth"),
    *("X-Amz-Security-Token", "X-Amz-Credential", "authorization", "passphrase", "jwt"),
)
PLAIN = (
    "monkey",
    "key_dim",
    "max_tokens",
    "secretary",
    "pkey",
    "user",
    "sslmode",
    "region",
    "endpoint_override",
    "keyboard",
    "keepalives",
    "design",
    "author",
    "x",
    "assign",
)


def encodings(text):
    """As it is, and percent-encoded once and twice, every character of it."""
    once = "".join(f"%{byte:02X}" for byte in text.encode())
    return text, once, quote(once)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("before", ["http://h/x?", "http://h?a=1&", "http://h/;", "http://h#", "postgresql:///db?b=2&"])
def test_a_parameters_value_is_hidden_by_its_name_wherever_it_stands(name, before):
    for spelled in encodings(name):
        uri = f"{before}{spelled}={SECRET}&c=3"
        assert shown(uri) == f"{before}{spelled}=***&c=3"
        assert holds_secret(uri)


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_within_a_value_is_hidden_too(name):
    within = f"DRIVER={{SQL Server}};SERVER=h;{name}={SECRET};Encrypt=yes"
    for value in encodings(within)[1:]:
        assert shown(f"mssql+pyodbc:///?odbc_connect={value}&x=1") == "mssql+pyodbc:///?odbc_connect=***&x=1"
    assert SECRET not in shown(f"mssql+pyodbc:///?odbc_connect={within}")


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_secret_stays(name):
    assert not is_secret_name(name)
    for uri in (f"http://h:5000/x?{name}=1", f"s3://bucket/x;{name}=http://h:1", f"postgresql:///db?{name}=%2Ftmp"):
        assert shown(uri) == uri
        assert not holds_secret(uri)


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("http://bob:MARKED@host:5000/x", "http://***@host:5000/x"),
        ("https://MARKED@host", "https://***@host"),
        ("http://bob:MAR KED@host", "http://***@host"),
        ("postgresql://bob:MAR@KED@host/db", "postgresql://***@host/db"),
        ("postgresql://bob:MAR/K#E?D@host/db", "postgresql://***@host/db"),
        ("http://bob%3AMARKED%40host/x", "http://***"),
        ("s3://b/x?endpoint_override=http://me:MARKED@h:1", "s3://b/x?endpoint_override=http://***@h:1"),
        ("s3://b/x?endpoint_override=http%3A%2F%2Fme%3AMARKED%40h", "s3://b/x?endpoint_override=***"),
        ("abfs://:MARKED@account/c", "abfs://***@account/c"),
        ("redis://h AccountName=a;AccountKey=MARKED", "redis://h AccountName=***"),
    ],
)
def test_a_user_and_a_password_are_hidden(uri, printed):
    assert shown(uri) == printed
    assert holds_secret(uri)
    assert shown(printed) == printed, "what is hidden stays so"


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///me@home.db",
        "sqlite:////a b/mlflow.db",
        "http://host:5000/a/b",
        "abfs://container@account.dfs.core.windows.net/s",
        "databricks://profile",
        "s3://bucket/a%20b?region=eu",
        "sqlite:////runs/max_tokens=256/mlflow.db",
        "sqlite:////runs/key=3/mlflow.db",
        "/shared/key=3/x.npz",
        "ssh://git@host/project",
    ],
)
def test_what_holds_none_is_printed_as_it_is(uri):
    assert shown(uri) == uri
    assert not holds_secret(uri)


@pytest.mark.parametrize(
    "text", ["x=1;" * 5000, "a" * 50_000, "://@" * 5000, "%2525" * 5000, "a=" * 10_000], ids=str.__len__
)
def test_a_long_text_takes_no_time_and_no_depth(text):
    """One pass: a scan from each of its characters took minutes."""
    assert not holds_secret(text) or "@" in text
    assert SECRET not in shown(f"{text};token={SECRET}")


def test_a_secret_after_a_folder_with_an_equals_sign_is_hidden():
    assert shown("sqlite:////runs/key=3/m.db?token=MARKED&b=1") == "sqlite:////runs/key=3/m.db?token=***&b=1"


def test_in_a_sentence_of_ours_only_uris_are_looked_at():
    said = f"storage s3://me:{SECRET}@b: data.key=3 and key=4 are not allowed"
    assert shown_uris(said) == "storage s3://***@b: data.key=3 and key=4 are not allowed"


# --- in specs and configurations --------------------------------------------------------------------------------------

PLACES = {
    "tracking.tags.{}": lambda name, value: {"tracking": {"tags": {name: value}}},
    "config.model.kwargs.{}": lambda name, value: {"config": {"model": {"kwargs": {name: value}}}},
    "config.model.kwargs.client.{}": lambda name, value: {"config": {"model.kwargs": {"client": {name: value}}}},
    "model.kwargs.{}": lambda name, value: {f"model.kwargs.{name}": value},
    "space.model.kwargs.{}.choice.0": lambda name, value: {"space": {f"model.kwargs.{name}": {"choice": [value]}}},
    "search.points.1.model.kwargs.{}": lambda name, value: {
        "search": {"points": [{}, {f"model.kwargs.{name}": value}]}
    },
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [SECRET, 12_345_678])
def test_a_value_of_a_secrets_name_is_refused_by_its_path(place, name, value):
    with pytest.raises(ConfigError) as error:
        check_no_secrets(PLACES[place](name, value))
    assert str(error.value).startswith(f"{place.format(name)} holds a name, a password or a key, which the journal")
    assert str(value) not in str(error.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "a word") for name in PLAIN),
        *(("key", 64), ("token", 512), ("auth", True), ("password", ""), ("secret", None), ("sig", 0.1)),
        *(("api_key_env", "MY_KEY"), ("password_file", "/run/pw"), ("token_path", "/run/token")),
    ],
)
def test_what_holds_none_or_says_where_it_is_stays_allowed(place, name, value):
    check_no_secrets(PLACES[place](name, value))


def test_fields_called_key_are_no_secrets():
    check_no_secrets({"config": {"data": {"key": "images"}, "data.key": "images"}, "data.key": "images"})


@pytest.mark.parametrize("uri", [f"http://me:{SECRET}@h", f"s3://b?token={SECRET}"])
def test_a_uri_with_a_secret_is_refused_wherever_it_stands_and_never_shown(uri):
    for tree, path in (
        ({"config": {"data": {"name": uri}}}, "config.data.name"),
        ({"search": {"warm_start": ["a", uri]}}, "search.warm_start.1"),
        ({"tracking": {"tags": {uri: "x"}}}, f"tracking.tags.{shown(uri)}"),
    ):
        with pytest.raises(ConfigError) as error:
            check_no_secrets(tree)
        assert str(error.value).startswith(f"{path} holds a name, a password or a key")
        assert SECRET not in str(error.value)
