"""What each fault has cost, and the drivers that suffer it."""

from itertools import zip_longest

import pytest
from drivers import SWEEP, Driver, all_runs, check_projection, longest_block, record_of, runs_of


class Tally:
    """What each fault has cost: the table of `make faults`."""

    HEAD = ("fault", "tries", "epochs lost", "runs doubled", "wrong records", "seconds blocked", "seconds until said")

    def __init__(self):
        self.rows = []

    def add(self, fault, tries, driver, uri=None, reference=None, said=None):
        """Compare what a driver has left with its own journal, or with an undisturbed driver's.

        said: seconds from the fault to the sentence about it, None where there is nothing to say or it was not timed.
        """
        events, runs = driver.events, all_runs(uri) if uri else []
        due = _epochs(reference.events) if reference else _epochs_up_to_the_last(driver.sweep)
        lines, expected = record_of(events)[0], record_of(reference.events)[0] if reference else None
        self.rows.append((
            fault,
            tries,
            len(due - _epochs(events)),
            len(runs) - len({run.data.tags.get("vae_tuner.trial") for run in runs}) if uri else "-",
            sum(one != other for one, other in zip_longest(lines, expected)) if reference else "-",
            f"{longest_block(events):.2f}",
            "-" if said is None else f"{said:.1f}",
        ))  # fmt: skip

    def show(self):
        print()
        for row in (self.HEAD, *self.rows):
            print(f"{row[0]:<48}", *(f"{value!s:>18}" for value in row[1:]))


def _epochs(events):
    return {(event["trial"], event["epoch"]) for event in events if event["event"] == "report"}


def _epochs_up_to_the_last(sweep):
    return {(trial.id, epoch) for trial in sweep.trials.values() for epoch in range(1, trial.epochs + 1)}


@pytest.fixture(scope="session")
def tally():
    made = Tally()
    yield made
    made.show()


@pytest.fixture
def uri(tmp_path):
    """MLflow's default store of the driver's folder."""
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="session")
def start():
    """The command that starts the sweep all tests compare by."""
    return SWEEP


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, command, environment):
    """The driver of that sweep, run without any fault, and with a tracking server that never was."""
    made = Driver(tmp_path_factory.mktemp("undisturbed"), command, environment)
    assert made.start(*SWEEP, "--offline", "--tracking-uri", "http://127.0.0.1:9").end() == 0, made.err
    return made


@pytest.fixture(scope="session")
def record():
    return record_of


@pytest.fixture(scope="session")
def runs():
    return runs_of


@pytest.fixture(scope="session")
def projected():
    return check_projection
