"""What is read from a job's log is what was written to it, also from a log that breaks off anywhere."""

import json

from tuner.cluster.job_log import PREFIX, latest_status, readable, refusal_in, result_in

RESULT = {"name": "s", "best": {"config": {"model": {"kwargs": {}}}, "metrics": {}}, "n_trials": 2}
LINES = [
    "Running entrypoint for job s: exec vae-tuner sweep spec.yaml\n",
    f'{PREFIX}{{"epochs": 1}}\n',
    "Warning: trial 0001: {\n",
    f'{PREFIX}{{"epochs": 2}}\n',
    json.dumps(RESULT, indent=2) + "\n",
]
LOG = "".join(LINES)


def test_a_whole_log():
    assert readable(LOG) == LINES[0] + LINES[2] + LINES[4]
    assert latest_status(LOG) == {"epochs": 2}
    assert result_in(LOG) == RESULT
    assert result_in(LOG + "Exception ignored in atexit\n") == RESULT


def test_a_log_that_breaks_off_gives_what_is_whole():
    known = {None: 0, 1: 1, 2: 2}
    found = []
    for n in range(len(LOG)):
        status = latest_status(LOG[:n])
        found.append(known[status and status["epochs"]])
        assert result_in(LOG[:n]) in ((RESULT,) if n >= len(LOG) - 1 else (None,))
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}


def test_two_sessions_of_one_log_give_the_later_result():
    assert result_in(LOG + json.dumps({**RESULT, "n_trials": 3}, indent=2))["n_trials"] == 3


def test_only_the_last_line_refuses():
    sentence = "Error: sweep s is finished; see it with `vae-tuner best --sweep s`"
    assert refusal_in(f"{LINES[0]}{sentence}\n\n") == sentence
    for log in ("", LOG, f"{sentence}\n{LOG}", "Traceback …\nRuntimeError: Error: x\n"):
        assert refusal_in(log) is None
