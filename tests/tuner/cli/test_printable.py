import pytest

from tuner.cli.console import err, new_table, out
from tuner.cli.printable import printable

STEERING = ("\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\r", "\x08", "\u202egnp.exe", "\udc80")


@pytest.mark.parametrize("name", STEERING)
def test_what_steers_a_terminal_is_written_out(name):
    assert printable(f"a{name}b").isprintable()
    assert printable(printable(name)) == printable(name)


def test_all_else_stays():
    text = "κ_min – é 漢字 🙂, a line\n\tand another"
    assert printable(text) == text


@pytest.mark.parametrize("name", STEERING)
def test_tables_lines_and_titles_print_it_so(name, capsys):
    table = new_table(f"head{name}", title=f"title{name}")
    table.add_row(f"cell of a table that is wider than its title {name}")
    out().print(table)
    err().print(f"line{name}", soft_wrap=True)
    printed = "".join(capsys.readouterr())
    assert printed.count(printable(name)) == 4
    assert all(sign.isprintable() or sign == "\n" for sign in printed)


def test_an_error_prints_it_so_and_without_secrets(cli, tmp_path):
    found = cli(tmp_path, "status", "x\x1b[2J", "--storage", "s3://me:MARKED@bucket")
    assert found.code == 2
    assert "\x1b" not in found.err
    assert "MARKED" not in found.err
    assert "no sweep 'http://***@h'" in cli(tmp_path, "status", "http://me:MARKED@h").err
