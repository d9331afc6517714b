"""Journals changed by chance: each is a sweep that reads the same everywhere, or is refused in one sentence."""

import json
from copy import deepcopy
from random import Random

from fuzz import said_of, seeds_of
from mutations import mutated

from tuner.sweeps.journal import Journal, bytes_of, read_journal
from tuner.sweeps.state import fold
from tuner.sweeps.status import known_sweep, ranked_trials, sweep_statuses
from tuner.tracking.removal import remove_sweep

ODD = (
    None,
    True,
    0,
    -1,
    2**70,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../x",
    [],
    [1],
    {},
    {"$float": "nan"},
    "0000",
)
NAMES = ("header", "ask", "report", "end", "finish", "resume", "budget", "prior", "failure", "decision", "forked")


def places_in(tree, above=()):
    """The paths of all values of a tree."""
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places_in(value, (*above, key))


def changed_event(event, draw):
    """An event in which a value is another, or is missing."""
    changed = deepcopy(event)
    *above, last = draw.choice([*places_in(changed)])
    node = changed
    for key in above:
        node = node[key]
    if draw.random() < 0.4:
        del node[last]
    else:
        node[last] = draw.choice(ODD)
    return {"event": "", **changed}


def journal(events, seed):
    """The bytes of a seed: changed as they are, or event by event under checksums that are right."""
    draw = Random(f"journal {seed}")
    if draw.random() < 0.3:
        return mutated(bytes_of(events), draw)
    events = [*events]
    for _ in range(draw.choice((1, 1, 2))):
        i, j = draw.randrange(len(events)), draw.randrange(len(events))
        match draw.randrange(6):
            case 0 | 1:
                events[i] = changed_event(events[i], draw)
            case 2:
                del events[i]
            case 3:
                events.insert(j, events[i])
            case 4:
                events[i], events[j] = events[j], events[i]
            case _:
                events[i] = {**events[i], "event": draw.choice(NAMES)}
    return bytes_of({**event, "seq": seq} for seq, event in enumerate(events))


def check_sweep(root, path):
    """What every reader of a journal gives: the same sweep."""
    sweep = known_sweep(root, "s")
    assert repr(sweep) == repr(fold(read_journal(path)))  # NaN is like itself
    (status,) = sweep_statuses(root, "s")
    json.dumps(status.document())
    assert status.n_trials == len(sweep.trials)
    assert len(ranked_trials(sweep)) <= status.n_trials
    opened = Journal.open(path)
    opened.close()
    assert repr(opened.sweep) == repr(sweep)


@seeds_of(2_000)
def test_a_journal_is_read_right_or_refused_in_one_sentence(seeds, sweeps):
    sweeps.run("s")
    events, refused = sweeps.events("s"), 0
    path = sweeps.journal("s")
    for seed in seeds:
        path.write_bytes(content := journal(events, seed))
        text = said_of(seed, lambda: check_sweep(sweeps.storage, path))
        refused += text is not None
        (status,) = sweep_statuses(sweeps.storage)
        assert (status.state == "damaged") == (text is not None and "holds nothing yet" not in text), (seed, text)
        assert path.read_bytes() == content
    assert len(seeds) / 3 < refused < len(seeds)
    assert remove_sweep(sweeps.storage, "s").name == "s"
