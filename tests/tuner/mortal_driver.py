"""A driver without Ray in a process of its own, killed at its k-th write, and started again until it has finished.

Reads cases from stdin, one JSON object a line, and answers each with how often it died. Each life is a fork, so that
hundreds of them cost no more imports than one; the n-th dies at write k + n mod k. A trial's value is a chain over its
epochs that is kept in its checkpoint alone: who loses, repeats or skips an epoch gets other numbers.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from conftest import PlannedLoop, with_some_reach

import tuner.running.decisions
import tuner.running.handing_out
import tuner.tracking.mlflow_store
from trainables.config.paths import parse_config
from trainables.files import epoch_checkpoints
from trainables.files.checkpoint import Checkpoint, write
from trainables.files.epoch_checkpoints import EpochCheckpoints
from trainables.files.trial_files import FILE_NAME
from trainables.folder import LocalFolder
from trainables.object_storage import RemoteFolder, is_remote
from tuner.planning.plans import make_plan
from tuner.running import driver, search_loop
from tuner.running.lost_workers import why
from tuner.sweeps import lease
from tuner.sweeps.lease import FencedError
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.state import fold
from tuner.sweeps.storage import open_storage
from tuner.tracking.projection import Projection
from tuner.tracking.syncing import sync_sweep

EVENTS_PER_BATCH = 5


def noise(*words):
    """A number in [0, 1) that depends on the words alone."""
    digest = hashlib.blake2b(json.dumps(words, sort_keys=True).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "little") / 2**48


def link(config, epoch, before):
    """A trial's state after an epoch, from the state before it."""
    return noise(config, epoch, before)


FATES = {1: "lost", 2: "diverges", 3: "hopeless", 5: "lost"}
"""By number of the trial: lost at its first epoch and its second, always, or diverged. The others are pruned or not."""


class Life(PlannedLoop):
    """With checkpoints on disk and MLflow in step."""

    def __init__(self, plan, journal, folder, seed):
        super().__init__(plan, journal)
        # Object storage outlives the machine and the driver's folder on it.
        lasting = Path(plan.spec.storage.removeprefix("file://")) / folder.name
        self.folder, self.seed = lasting if is_remote(plan.spec.storage) else folder, seed
        client = tuner.tracking.mlflow_store.open_client(plan.spec.tracking.uri)
        self.projection = Projection(client, plan.spec.tracking.experiment, self.folder / "trials")
        self.n_sent = self.projection.resume(journal.lasting)

    def tell(self, trial, epoch):
        if len(self.journal.lasting) - self.n_sent >= EVENTS_PER_BATCH:
            self.journal.check()
            batch = self.journal.lasting[self.n_sent :]
            self.projection.project(batch)
            self.n_sent += len(batch)
        own = self.journal.sweep.trials[trial]
        kind = FATES.get(own.number)
        if own.failures < {"lost": min(epoch, 2), "hopeless": math.inf}.get(kind, 0):
            return self.lose(trial, own.failures)
        report = {"diverged": True, "epoch": epoch, "metrics": {}, "outcome": None, "checkpoint": None}
        if kind != "diverges":
            report = self.trained(trial, own.config, epoch)
        return self.decisions.hear({"trial": trial, "warnings": [], **report})

    def lose(self, trial, failures):
        """With its worker, then in its model."""
        if failures % 2 == 0:
            self.decisions.lose([trial], why(""))
            return False
        return self.decisions.hear({"trial": trial, "error": "boom"})

    def trained(self, trial, config, epoch):
        """An epoch, from the checkpoint before it; one that was trained and not heard of is told again."""
        parsed, folder = parse_config(config), self.folder / "trials" / trial
        kept = EpochCheckpoints(LocalFolder(folder), self.journal.session, lambda text: None)
        found = kept.latest(parsed, "cpu", epoch)
        if found is None or found.epoch < epoch:
            state = float(found.groups["state"]["chain"]) if found else 0.0
            if (found.epoch if found else 0) != epoch - 1:
                return {"error": f"no checkpoint of epoch {epoch - 1}"}
            with (self.folder / "trained").open("a") as ledger:
                ledger.write(f"{trial} {epoch}\n")
            state = link(config, epoch, state)
            metrics = {self.plan.metric: state + 0.1 * epoch, "val/kl": 10 * state}
            tensors = {"state": {"chain": torch.tensor(state, dtype=torch.float64)}}
            found = Checkpoint(parsed, epoch, (2,), tensors, metrics)
            if epoch == parsed.epochs:
                (folder / "config.yaml").write_text("as it ran")
                write(folder / FILE_NAME, found)
            else:
                kept.save(found)
        if epoch == parsed.epochs:
            kept.clear()
        fields = {"epoch": epoch, "metrics": dict(found.metrics), "diverged": False}
        return {**fields, "outcome": None, "checkpoint": f"epoch-{epoch}"}

    def next_one(self, n):
        """Which of n trials is the next to report: another order in each life."""
        self.n_told += 1
        return int(n * noise("next", self.seed, self.n_told))


# --- deaths -----------------------------------------------------------------------------------------------------------


class Deaths:
    """Kills this process at its k-th passage of a place. where: `before`, `within` or `after` what happens there;
    `paused` for a process that stops before it and is woken later."""

    def __init__(self, k, where):
        self.left, self.where = k, where
        self.signal = signal.SIGSTOP if where == "paused" else signal.SIGKILL

    def around(self, act, half=None):
        """A function that does what `act` does, unless it is time to die."""

        def passed(*arguments, **options):
            self.left -= 1
            if self.left == 0 and self.where == "within" and half:
                half(*arguments, **options)
            if self.left == 0 and self.where != "after":
                os.kill(os.getpid(), self.signal)
            done = act(*arguments, **options)
            if self.left == 0 and self.where == "after":
                os.kill(os.getpid(), self.signal)
            return done

        return passed


def lay_in_wait(place, k, where):
    """Put a death where the journal is written, MLflow's database committed, a checkpoint or an object put in place."""
    from sqlalchemy.engine.default import DefaultDialect

    deaths, write = Deaths(k, where), os.write

    def write_or_die(file, data):
        return (journal_write if data.startswith(b'{"seq"') else write)(file, data)

    journal_write = deaths.around(write, lambda file, data: write(file, data[: len(data) // 2]))
    if place == "journal":
        os.write = write_or_die
    elif place == "mlflow":
        DefaultDialect.do_commit = deaths.around(DefaultDialect.do_commit)
    elif place == "segment":
        RemoteFolder.write = deaths.around(RemoteFolder.write)
    else:
        epoch_checkpoints.write = deaths.around(epoch_checkpoints.write)
        globals()["write"] = deaths.around(globals()["write"])


def live(case, number):
    """One life of the driver, as a user starts it: a new sweep, a resumed one, or what is left to send."""
    if case["place"]:
        lay_in_wait(case["place"], case["k"] + number % case["k"], case["where"])

    def run(session, tracker):
        life = Life(session.plan, session.journal, session.folder, number)
        life.run(life.next_one)

    if case.get("elsewhere"):
        move_elsewhere(case["spec"]["storage"], case["spec"]["name"])
    search_loop.run = run
    driver.require_ready = lambda plan: None
    driver.reached = with_some_reach
    spec = case["spec"]
    storage, name, data_dir = spec["storage"], spec["name"], Path(case["data_dir"])
    opened = open_storage(storage)
    events = opened.lines(name) if name in opened.names() else []
    if not events:
        if not is_remote(storage):
            shutil.rmtree(Path(storage, name), ignore_errors=True)
        driver.run_sweep(make_plan(parse_spec(spec), data_dir))
    elif fold(events).resumable and not fold(events).spent:
        driver.resume_sweep(storage, name, offline=True, data_dir=data_dir)
    sync_sweep(storage, name)


def lives_until_finished(case):
    """How often it died."""
    for number in range(2000):
        status = ended(begun(case, number))
        if status != -signal.SIGKILL:
            return {"deaths": number, "status": status}
    return {"deaths": number, "status": "it never ends"}


def begun(case, number):
    """A life in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            live(case, number)
        except FencedError as error:
            Path("orphan").write_text(str(error))
            os._exit(error.exit_code)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(70)
        os._exit(0)
    return child


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outlived(case):
    """What a driver does that is paused, taken over from another machine, and woken when the sweep has finished."""
    orphan = begun(case, 0)
    assert os.WIFSTOPPED(os.waitpid(orphan, os.WUNTRACED)[1]), "it ended first"
    status = ended(begun({**case, "place": None, "elsewhere": True}, 1))
    held = open_storage(case["spec"]["storage"])
    events = held.lines(case["spec"]["name"])
    os.kill(orphan, signal.SIGCONT)
    said = {"orphan": ended(orphan), "said": Path("orphan").read_text() if Path("orphan").exists() else ""}
    return {"deaths": 0, "status": status, **said, "unchanged": held.lines(case["spec"]["name"]) == events}


def move_elsewhere(storage, name):
    """To another machine, whose locks this one does not see, and which has waited."""
    lease.this_place = lambda: "another machine"
    lease.EXPIRY_SECONDS = lease.LOOK_SECONDS = 0.1
    os.environ["VAE_TUNER_CACHE"] += "/elsewhere"
    if not is_remote(storage):
        Path(storage, name, "lock").unlink()


def prepare(case):
    """Live once here, undisturbed and in a folder of its own, so that every fork finds all imported and compiled."""
    from disks import wait_for_no_disk

    wait_for_no_disk()
    with TemporaryDirectory() as folder:
        shutil.copy("mlflow.db", folder)
        tracking = {**case["spec"]["tracking"], "uri": f"sqlite:///{folder}/mlflow.db"}
        live({**case, "place": None, "spec": {**case["spec"], "storage": folder, "tracking": tracking}}, 0)


if __name__ == "__main__":
    for number, line in enumerate(sys.stdin):
        case = json.loads(line)
        os.chdir(case["root"])
        if number == 0:
            prepare(case)
        print(json.dumps(outlived(case) if case["where"] == "paused" else lives_until_finished(case)), flush=True)
