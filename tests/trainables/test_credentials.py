"""One list of what is secret, for every place that writes or prints a URI or a variable."""

from urllib.parse import quote

import pytest

from trainables.credentials import holds_secret, is_secret_name, shown, shown_uris

SECRET = "MARKED"
NAMES = (
    *("password", "passwd", "pwd", "pass", "sslpassword", "secret", "client_secret", "token", "access_token"),
    *("key", "api_key", "apikey", "access_key", "AccountKey", "sslkey", "sig", "X-Amz-Signature", "sas", "auth"),
    *("X-Amz-Security-Token", "X-Amz-Credential", "authorization", "passphrase"),
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
