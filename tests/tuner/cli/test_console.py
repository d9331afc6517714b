from tuner.cli.console import working
from tuner.cli.progress import epoch_progress
from tuner.reports.wording import text_of


def test_what_a_users_code_prints_does_not_reach_stdout(capsys):
    with working("Reading"):
        print("imported")
    with epoch_progress(1):
        print("trained")
    print("result")
    shown = capsys.readouterr()
    assert shown.out == "result\n"
    assert "imported\n" in shown.err
    assert "trained\n" in shown.err


def test_values_are_written_as_after_set():
    assert [text_of(value) for value in (0.123456, 3, "clr", None, False, [128])] == [
        "0.12346", "3", "clr", "none", "false", "[128]",
    ]  # fmt: skip
