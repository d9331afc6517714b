"""A sweep stops in order when its time or its epochs are spent, and says which."""

import math
import time

import pytest
from events import new_event

from tuner.search.asha import Asha
from tuner.search.hyperband import HyperBand
from tuner.sweeps.journal import Journal, read_journal
from tuner.sweeps.spec import Budget
from tuner.sweeps.status import is_spent, spent_part

EPOCHS = 6
RULES = {
    "none": lambda n_trials: None,
    "asha": lambda n_trials: Asha((2,), 3, "max"),
    "hyperband": lambda n_trials: HyperBand((2,), 3, "max", EPOCHS, n_trials),
}


def rising(number, epoch):
    return number + 0.1 * epoch


def sweep(tune_loop, path, epochs, concurrency, rule="none", n_trials=5):
    return tune_loop(
        path, RULES[rule](n_trials), rising, n_trials=n_trials, epochs=EPOCHS, concurrency=concurrency,
        budget=Budget(epochs=epochs),
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_no_more_than_the_epochs_under_way_come_after_the_last_one_paid_for(tmp_path, tune_loop, concurrency, rule):
    free = sweep(tune_loop, tmp_path / "free", None, concurrency, rule).run().journal.sweep
    assert not free.spent
    for epochs in range(1, free.epochs + 3):
        spent = sweep(tune_loop, tmp_path / f"{epochs}", epochs, concurrency, rule).run().journal.sweep
        assert min(epochs, free.epochs) <= spent.epochs <= epochs + concurrency - 1
        assert spent.spent or spent.epochs == free.epochs


def test_at_one_at_a_time_the_budget_is_kept_exactly_and_the_sweep_is_the_start_of_the_free_one(tmp_path, tune_loop):
    free = sweep(tune_loop, tmp_path / "free", None, 1).run()
    loop = sweep(tune_loop, tmp_path / "spent", 2 * EPOCHS + 3, 1).run()
    assert loop.ends() == {0: ("completed", EPOCHS), 1: ("completed", EPOCHS), 2: ("budget", 3)}
    *before, last = loop.told()
    assert before == free.told()[: len(before)]
    assert (last["decision"], last["reason"], last["metrics"]) == ("stop", "budget", {"val/elbo": 2.3})


def test_a_trial_whose_epoch_is_its_last_is_completed(tmp_path, tune_loop):
    loop = sweep(tune_loop, tmp_path / "journal", 2 * EPOCHS - 1, 2, n_trials=3).run()
    assert loop.ends() == {0: ("completed", EPOCHS), 1: ("completed", EPOCHS)}
    assert loop.told()[-2] == {"event": "budget"}, "the third trial has not begun"
    assert loop.journal.sweep.spent


def test_a_budget_that_ends_with_the_work_is_not_what_ended_it(tmp_path, tune_loop):
    loop = sweep(tune_loop, tmp_path / "journal", 2 * EPOCHS, 1, n_trials=2).run()
    assert loop.ends() == {0: ("completed", EPOCHS), 1: ("completed", EPOCHS)}
    assert not loop.journal.sweep.spent


def test_what_diverges_or_is_pruned_then_says_so(tmp_path, tune_loop):
    loop = tune_loop(
        tmp_path / "journal", Asha((2,), 3, "max"), lambda number, epoch: (2.0, 1.0, math.nan)[number],
        n_trials=3, epochs=EPOCHS, concurrency=3, budget=Budget(epochs=4),
    )  # fmt: skip
    for trial, epoch in (("0000", 1), ("0001", 1), ("0000", 2), ("0001", 2), ("0002", 1), ("0000", 3)):
        loop.fill()
        loop.tell(trial, epoch)
    assert loop.ends() == {0: ("budget", 3), 1: ("pruned", 2), 2: ("diverged", 1)}


def test_paused_trials_are_left_for_the_end_of_the_sweep(tmp_path, tune_loop):
    """Three pause at epoch 2, the winner goes on; nobody is pruned for want of company when the budget is spent."""
    loop = sweep(tune_loop, tmp_path / "journal", 4, 2, "hyperband").run()
    assert {reason for reason, _ in loop.ends().values()} <= {None, "budget"}
    assert [trial.paused for trial in loop.journal.sweep.trials.values()].count(True) >= 1
    assert loop.handing_out.next_trial() == "FINISHED"


def test_a_sweep_that_dies_at_any_event_ends_as_the_undisturbed_one(tmp_path, tune_loop):
    whole = sweep(tune_loop, tmp_path / "whole", 16, 1, "hyperband").run()
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for n_lines in range(1, len(lines) + 1):
        path = tmp_path / f"{n_lines}"
        path.write_bytes(b"".join(lines[:n_lines]))
        assert sweep(tune_loop, path, 16, 1, "hyperband").run().told() == whole.told()


def test_time_counts_in_all_sessions(tmp_path, monkeypatch):
    now, budget = [0.0], Budget(time="1m")
    monkeypatch.setattr("tuner.sweeps.journal.SteadyClock", lambda: lambda: now[0])
    journal = Journal.create(tmp_path / "journal")
    journal.append(new_event("header", metric="val/elbo"))
    now[0] = 40.0
    assert not is_spent(budget, journal, 0)
    journal.append(new_event("finish", reason="interrupted"))
    journal.close()
    now[0] = 1000.0
    journal = Journal.open(tmp_path / "journal")
    journal.append(new_event("finish", reason="interrupted"))
    now[0] = 1019.0
    assert not is_spent(budget, journal, 0)
    now[0] = 1020.0
    assert is_spent(budget, journal, 0)
    assert spent_part(budget, journal) == "time"
    journal.close()


@pytest.mark.parametrize("step", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_in_mid_sweep_spends_nothing_and_gives_nothing_back(step, tmp_path, monkeypatch):
    budget, real, shift = Budget(time="1h"), time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    journal = Journal.create(tmp_path / "journal")
    journal.append(new_event("header", metric="val/elbo"))
    shift[0] = step
    assert not is_spent(budget, journal, 0)
    journal.append(new_event("finish", reason="interrupted"))
    assert 0 <= journal.sweep.seconds < 60
    journal.close()
    times = [event["t"] for event in read_journal(tmp_path / "journal")]
    assert times == sorted(times)


def test_time_ends_running_trials_with_their_epoch_and_hands_out_no_more(tmp_path, tune_loop, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tuner.sweeps.journal.SteadyClock", lambda: lambda: now[0])
    loop = tune_loop(
        tmp_path / "journal", None, rising, n_trials=5, epochs=EPOCHS, concurrency=2, budget=Budget(time=60)
    ).run(n_results=3)
    now[0] = 60.0
    loop.run()
    assert loop.ends() == {0: ("budget", 3), 1: ("budget", 2)}
    now[0] = 0.0
    assert is_spent(Budget(time=60), loop.journal, 0), "what has stopped a trial stands"


@pytest.mark.parametrize(
    ("epochs", "time", "expected"), [(None, None, None), (3, None, "epochs"), (None, 0.5, "time"), (9, 60, None)]
)
def test_either_part_ends_the_sweep(tmp_path, monkeypatch, epochs, time, expected):
    monkeypatch.setattr("tuner.sweeps.journal.SteadyClock", lambda: iter([0.0, 1.0]).__next__)
    journal = Journal.create(tmp_path / "journal")
    journal.append(new_event("header", metric="val/elbo"))
    assert spent_part(Budget(epochs=epochs, time=time), journal, unwritten=3) == expected
    journal.close()
