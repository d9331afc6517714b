"""Lanes without Ray: who trains where, what a sweep repeats, and what a lost lane costs."""

import math
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane_loop import EPOCHS, Bench

from trainables.errors import StorageError
from tuner.planning.resources import Share, epoch_cost
from tuner.running.dispatcher import WAIT_SECONDS, OrdersLostError
from tuner.running.lost_workers import OUT_OF_MEMORY, Loss, why
from tuner.search.asha import Asha
from tuner.search.rules import Verdict

KILLED, NODE = why(""), why("The actor died because its node has died. Node Id: 0f")


@pytest.fixture
def bench(tmp_path):
    numbers = count()
    return lambda **options: Bench(tmp_path / f"{next(numbers)}.jsonl", **options)


# --- what repeats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_trial_by_trial_a_sweep_is_the_same_at_any_width(bench, lanes):
    narrow, wide = bench(members=1).run(), bench(lanes=lanes, members=4).run(lambda n: n - 1)
    assert wide.told(by_trial=True) == narrow.told(by_trial=True)
    assert (narrow.peak, wide.peak) == (1, min(12, 4 * lanes))
    assert {trial.stop_reason for trial in wide.trials.values()} == {"completed"}


@pytest.mark.parametrize("members", [1, 3, 16])
def test_at_one_lane_a_search_that_learns_and_prunes_repeats_exactly(bench, members):
    """Whatever the order in which the lane tells of its trials."""
    options = {"members": members, "n_trials": 24, "sampler": "tpe", "rule": Asha((4,), 3, "max")}
    once, again = bench(**options).run(), bench(**options).run()
    assert once.told() == again.told()
    assert {trial.stop_reason for trial in once.trials.values()} == {"completed", "pruned"}
    reports = [event for event in once.told() if event["event"] == "report"]
    epochs = [reports[i : i + members] for i in range(0, len(reports), members)]
    assert all([line["trial"] for line in epoch] == sorted(line["trial"] for line in epoch) for epoch in epochs[:1])


def test_a_sweep_that_dies_after_any_step_ends_as_the_undisturbed_one_trial_by_trial(bench, tmp_path):
    options = {"lanes": 2, "members": 3, "n_trials": 7}
    whole = bench(**options).run().told(by_trial=True)
    for n_steps in range(1, 12):
        path = tmp_path / f"cut-{n_steps}.jsonl"
        Bench(path, **options).run(n_steps=n_steps)
        assert Bench(path, **options).run().told(by_trial=True) == whole


# --- who trains where -------------------------------------------------------------------------------------------------

shares = st.lists(st.builds(Share, st.sampled_from("abc"), st.integers(1, 40)))


@given(shares, shares, st.builds(Share, st.sampled_from("abc"), st.integers(1, 40)))
def test_the_cost_of_a_lane_is_the_sum_over_its_groups_and_a_member_adds_least_to_its_own(one, other, share):
    def apart(known, name):
        return [Share((name, each.group), each.steps) for each in known]

    assert epoch_cost([*apart(one, 1), *apart(other, 2)]) == pytest.approx(epoch_cost(one) + epoch_cost(other))
    steps = {each.group: share.steps for each in one}
    same = [Share(each.group, steps[each.group]) for each in one]
    joined = epoch_cost([*same, share]) - epoch_cost(same)
    assert joined == pytest.approx(share.steps * (0.2 if share.group in steps else 1.2))


def test_lanes_are_balanced_and_trials_of_one_group_side_by_side(bench):
    """Of four batch sizes on two lanes, against trials that are dealt out in turn."""
    own = bench(lanes=2, members=32, at_once=32, n_trials=32)
    own.open()
    lanes = list(own.dispatcher.lanes)
    assert sum(len(lane.trials) for lane in lanes) == 32
    dealt = sorted((trial, share) for lane in lanes for trial, share in lane.shares.items())
    by_turns = [epoch_cost(share for _, share in dealt[first::2]) for first in (0, 1)]
    costs = [epoch_cost(lane.shares.values()) for lane in lanes]
    assert sum(costs) < sum(by_turns)
    assert max(costs) < min(max(by_turns), 1.2 * min(costs))


@pytest.mark.parametrize(("at_once", "lanes"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_fewer_trials_at_once_than_lanes_have_a_lane_each(bench, at_once, lanes):
    own = bench(lanes=min(3, at_once), members=16, at_once=at_once)
    own.open()
    held = [len(lane.trials) for lane in own.dispatcher.lanes]
    assert (len(held), sum(held)) == (lanes, at_once)
    assert min(held) >= 1
    assert own.run().peak == at_once


def test_no_more_lanes_are_opened_than_there_are_trials(bench):
    own = bench(lanes=8, members=4, n_trials=3).run()
    assert [given["lane"] for given in own.opened] == [0, 1, 2]


def test_lanes_end_once_nothing_is_left_for_them(bench):
    own = bench(lanes=2, members=1, n_trials=3)
    own.run(n_steps=2 * EPOCHS)
    assert len(own.workers) == 2
    own.run(n_steps=1)
    assert list(own.workers) == [1]
    assert [trial.id for trial in own.trials.values() if trial.unfinished] == ["0001"], "the other one still trains"
    own.run()


def test_a_lane_for_which_no_worker_comes_leaves_its_trials_to_others(bench):
    now = [0.0]
    own = bench(lanes=2, members=8, at_once=6, n_trials=6, clock=lambda: now[0])
    first, second = own.dispatcher.next_lane(), own.dispatcher.next_lane()
    own.workers[0] = own._worker()
    own.dispatcher.came_up(first["lane"])
    waiting = own.dispatcher.lanes.get(second["lane"])
    held = list(waiting.trials)
    assert held
    own.step(0)
    assert waiting.trials == held
    now[0] = WAIT_SECONDS
    own.run(n_steps=1)
    assert (len(own.dispatcher.lanes.get(0).trials), waiting.trials) == (6, [])
    while own.ready:
        own.step(0)
    assert own.dispatcher.is_over, "Tune need not wait for the other"
    assert {trial.lost for trial in own.trials.values()} == {0}


# --- what a member does -----------------------------------------------------------------------------------------------


def test_a_trial_that_fails_is_tried_again_and_its_neighbours_go_on(bench):
    failed = []

    def fails(trial, epoch):
        if trial == "0001" and epoch == 3 and len(failed) < 2:
            failed.append(epoch)
            return {"error": "Traceback: boom", "kind": "raised"}
        return None

    own, undisturbed = bench(fails=fails).run(), bench().run()
    assert own.trials["0001"].failures == 2
    kept = [line for line in own.told(by_trial=True) if line["event"] != "failure"]
    assert kept == undisturbed.told(by_trial=True)


def test_a_trial_that_runs_out_of_memory_is_alone_in_a_lane_of_its_own_after_all_others(bench):
    tried = []

    def fails(trial, epoch):
        if trial == "0002" and not tried:
            tried.append(trial)
            return {"error": "out of memory", "kind": "memory"}
        return None

    own = bench(lanes=2, members=2, n_trials=6, fails=fails).run()
    assert [given["alone"] for given in own.opened] == [None, None, "0002"]
    assert own.trained[-EPOCHS:] == [(own.opened[-1]["lane"], ["0002"])] * EPOCHS
    assert sum("0002" in trials for _, trials in own.trained) == EPOCHS + 1
    assert {trial.stop_reason for trial in own.trials.values()} == {"completed"}


class Pauses:
    """Every trial pauses at its second epoch, until `is_due` of it."""

    def __init__(self, is_due):
        self.is_due = is_due

    def decide(self, sweep, trial, epoch, value):
        return Verdict("pause" if epoch == 2 else "continue")

    def release(self, sweep):
        return [
            (own.id, Verdict("continue")) for own in sweep.trials.values() if own.paused and self.is_due(sweep, own)
        ]


def test_a_trial_that_is_paused_and_goes_on_at_once_stays_where_its_state_is(bench):
    """Another lane would begin with a checkpoint that is not written yet."""
    own = bench(lanes=2, members=1, n_trials=2, rule=Pauses(lambda sweep, trial: True)).run()
    assert sorted(own.begun) == ["0000", "0001"]
    assert {trial.epochs for trial in own.trials.values()} == {EPOCHS}


def test_a_trial_that_is_to_run_alone_gets_the_places_of_lanes_with_nothing_to_train(bench):
    """While another is paused until it has ended."""

    def fails(trial, epoch):
        return None if trial == "0001" or own.trials[trial].alone else {"error": "out of memory", "kind": "memory"}

    rule = Pauses(lambda sweep, trial: trial.id == "0000" or not sweep.trials["0000"].unfinished)
    own = bench(lanes=2, members=1, n_trials=2, rule=rule, fails=fails)
    own.run()
    assert {trial.stop_reason for trial in own.trials.values()} == {"completed"}
    assert [given["alone"] for given in own.opened][2] == "0000"


# --- what a lost lane costs -------------------------------------------------------------------------------------------


def test_a_lane_lost_with_one_trial_charges_it(bench):
    own = bench(members=1, retries=1)
    for n in (1, 2):
        own.run(n_steps=1)
        own.lose(own.dispatcher.lanes.shared[0].number, KILLED)
        assert own.trials["0000"].failures == 1, n
    assert (own.trials["0000"].stop_reason, own.trials["0000"].kind) == ("error", "worker")
    own.run()


def test_a_lane_lost_with_several_charges_none_and_halves_their_lanes(bench, tmp_path):
    own = bench(members=8, n_trials=8, retries=0)
    own.run(n_steps=2)
    own.lose(0, KILLED)
    assert {(trial.lost, trial.failures, trial.width) for trial in own.trials.values()} == {(1, 0, 4)}
    later = Bench(own.journal.path, members=8, n_trials=8, retries=0)
    assert {trial.width for trial in later.trials.values()} == {4}, "a later session knows"
    later.run()
    assert (later.peak, {trial.stop_reason for trial in later.trials.values()}) == (4, {"completed"})


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("kind", ["worker", "memory", "timeout"])
def test_who_ends_its_lanes_is_alone_within_log2_losses_and_its_neighbours_finish(bench, lanes, kind):
    own = bench(lanes=lanes, members=16, n_trials=16, retries=0)
    losses = 0
    while own.open() != "FINISHED" or own.ready:
        lane = own.ready[0]
        starts = {given["trial"] for given in own.orders[lane][0].start}
        if "0005" in starts | set(own.workers[lane].epochs):
            losses += 1
            own.lose(lane, Loss(kind, "it died"))
        else:
            own.step(lane)
    assert losses <= 1 + math.log2(16) + (kind == "memory")
    ends = {trial.id: trial.stop_reason for trial in own.trials.values()}
    assert ends.pop("0005") == "error"
    assert set(ends.values()) == {"completed"}
    assert {trial.failures for trial in own.trials.values() if trial.id != "0005"} == {0}


def test_a_lost_node_charges_none_and_halves_nothing(bench):
    own = bench(members=4, n_trials=4, retries=0)
    own.run(n_steps=1)
    own.lose(0, NODE)
    assert {(trial.lost, trial.failures, trial.width) for trial in own.trials.values()} == {(1, 0, None)}
    assert own.run().peak == 4


def test_whom_a_lost_lane_was_not_told_of_has_lost_nothing(bench):
    """It was to begin with the next epoch."""
    own = bench(lanes=2, members=2, n_trials=5, retries=0)
    own.open()
    lane = own.dispatcher.lanes.get(1)
    before = list(lane.trials)
    own.orders[1].popleft()  # it trains
    own.lose(0, NODE)
    late = own.handing_out.next_trial()
    lane.add(own.trials[late["trial"]], late, Share(None, 1))
    own.lose(1, KILLED)
    lost = {trial.id for trial in own.trials.values() if trial.kind == "worker"}
    assert (lost, late["trial"] in lost) == (set(before), False)
    own.run()
    assert {trial.stop_reason for trial in own.trials.values()} == {"completed"}


def test_what_a_lane_says_that_was_lost_is_not_heard(bench):
    own = bench()
    own.open()
    own.lose(0, KILLED)
    n = len(own.journal.events)
    assert not own.dispatcher.hear(0, {"reports": [{"trial": "0000", "epoch": 1, "metrics": {"val/elbo": 1.0}}]})
    assert len(own.journal.events) == n


@pytest.mark.parametrize(
    ("told", "error"), [({"storage": "full"}, StorageError), ({"orders": "lost"}, OrdersLostError)]
)
def test_what_ends_tunes_loop_lets_lanes_go_that_wait(told, error, bench):
    own = bench(lanes=2, members=1)
    own.open()
    own.step(0)
    with pytest.raises(error):
        own.dispatcher.hear(1, told)
    assert own.orders[1][-1].end


@pytest.mark.parametrize(
    ("message", "charged"),
    [
        ("killed. Memory on the node (IP: 10.0.0.1, ID: bf99) was 8.71GB used", {0, 2}),
        ("killed. Memory on the node (IP: 10.0.0.11, ID: bf99) was 8.71GB used", {1, 2}),
        ("killed, and it is not said where", {0, 1, 2}),
    ],
)
@pytest.mark.parametrize("members", [1, 2])
def test_where_a_node_ran_out_of_memory_all_lanes_that_may_have_run_there_share_it(bench, members, message, charged):
    own = bench(lanes=3, members=members)
    own.open()
    lanes = [own.dispatcher.lanes.get(number) for number in range(3)]
    held = {lane.number: list(lane.trials) for lane in lanes}
    for lane, ip in zip(lanes, ("10.0.0.1", "10.0.0.11", None), strict=True):
        lane.ip = ip
    own.dispatcher.charge_memory(message)
    found = {trial.id for trial in own.trials.values() if (trial.alone if members == 1 else trial.width == 1)}
    assert found == {trial for lane in charged for trial in held[lane]}
    assert {trial.failures for trial in own.trials.values()} == {0}
    assert {trial.error for trial in own.trials.values()} == {None}
    assert {e.error for e in own.journal.events if e.name == "failure"} == {OUT_OF_MEMORY}


def test_a_lane_that_has_not_been_asked_for_has_no_share_in_a_node_that_ran_out_of_memory(bench):
    own = bench(lanes=3, members=1)
    own.dispatcher.came_up(own.dispatcher.next_lane()["lane"])
    own.dispatcher.charge_memory("killed, and it is not said where")
    assert [trial.alone for trial in own.trials.values()] == [True, False, False]


# --- an orderly stop --------------------------------------------------------------------------------------------------


def test_a_stop_lets_epochs_end_that_have_begun_and_begins_no_more(bench):
    own = bench(lanes=2, members=2)
    own.run(n_steps=4)
    trained = len(own.trained)
    own.stop()
    assert len(own.trained) <= trained + 2
    n = len(own.trials)
    assert own.dispatcher.next_lane() is None
    assert len(own.trials) == n
    assert not own.workers
    Bench(own.journal.path, lanes=2, members=2).run()


def test_no_lane_is_asked_for_after_a_stop(bench):
    own = bench(lanes=2, members=1)
    own.dispatcher.came_up(own.dispatcher.next_lane()["lane"])
    own.dispatcher.stop()
    assert own.dispatcher.next_lane() is None


def test_a_lane_that_was_killed_after_a_stop_charges_none(bench):
    own = bench(members=1)
    own.open()
    own.dispatcher.stop()
    own.lose(0, KILLED)
    assert own.trials["0000"].lost == 0
