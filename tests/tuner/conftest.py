"""Stores of MLflow, journals written by hand, and sweeps without Ray."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from events import happened
from tune_loop import TuneLoop

from trainables.config import method_of
from trainables.config.paths import flatten, parse_config, unflatten
from tuner.planning.plans import make_plan
from tuner.running import driver, search_loop
from tuner.sweeps.journal import Journal, bytes_of, read_journal
from tuner.sweeps.spec import parse_spec


@pytest.fixture
def new_store(migrated_database: Path, tmp_path: Path) -> Callable[[str], str]:
    """Make an empty store in a folder of its own; returns its URI."""

    def make(name: str) -> str:
        (tmp_path / name).mkdir()
        shutil.copy(migrated_database, tmp_path / name / "mlflow.db")
        return f"sqlite:///{tmp_path / name / 'mlflow.db'}"

    return make


@pytest.fixture
def uri(new_store: Callable[[str], str]) -> str:
    return new_store("store")


@dataclass
class WrittenJournal:
    """Events in the journal's format, one second apart."""

    name: str
    metric: str
    direction: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add("header", name=self.name, sweep_id=f"id-of-{self.name}", metric=self.metric, direction=self.direction)

    def add(self, event: str, **payload: Any) -> None:
        seq = len(self.events)
        self.events.append({"seq": seq, "session": "s", "t": 1_700_000_000.1 + seq, "event": event, **payload})

    def ask(self, trial: str, tree: dict[str, Any] | None = None) -> None:
        tree = tree or {}
        config = parse_config(tree)
        self.add(
            "ask",
            trial=trial,
            number=int(trial),
            assignment=flatten(tree),
            config=config.model_dump(mode="json"),
            method=method_of(config),
        )

    def report(
        self, trial: str, epoch: int, metrics: dict[str, float], reason: str | None = None, outcome: str | None = None
    ) -> None:
        self.add(
            "report",
            trial=trial,
            epoch=epoch,
            metrics={"epoch": float(epoch), **metrics},
            decision="stop" if reason else "continue",
            reason=reason,
            rung=None,
            cutoff=None,
            outcome=outcome,
            checkpoint=None,
        )

    def trial(self, trial: str, values: list[float], reason: str, tree: dict[str, Any] | None = None) -> None:
        """A whole trial: one report a value, the last with the reason."""
        self.ask(trial, tree)
        for epoch, value in enumerate(values, start=1):
            self.report(trial, epoch, {self.metric: value}, reason if epoch == len(values) else None)


@pytest.fixture
def written_journal() -> Callable[..., WrittenJournal]:
    def make(name: str = "s", metric: str = "val/elbo_cal", direction: str = "max") -> WrittenJournal:
        return WrittenJournal(name, metric, direction)

    return make


@pytest.fixture
def eventful_journal(written_journal: Callable[..., WrittenJournal]) -> WrittenJournal:
    """A sweep in which everything happens once: every stop reason, an interruption, a resumed trial."""
    journal = written_journal()
    geco = {"objective": {"kind": "geco", "kappa": 0.1 + 0.2}}
    journal.ask("0000", geco)
    journal.ask("0001", {"beta": {"kind": "linear", "warmup": 1 / 3}})
    journal.report("0000", 1, {"val/elbo_cal": -5.0, "val/mse": 0.1})
    journal.report("0001", 1, {"val/elbo_cal": -9.0}, "pruned")
    journal.trial("0002", [-4.0, float("-inf")], "diverged")
    journal.ask("0003")
    journal.add("end", trial="0003", reason="error", error="Traceback: out of memory")
    journal.trial("0004", [-8.0, -7.0], "budget")
    journal.ask("0005")
    journal.add("end", trial="0005", reason="interrupted", error=None)
    journal.add("end", trial="0000", reason="interrupted", error=None)
    journal.add("finish", reason="interrupted")
    journal.report("0000", 2, {"val/elbo_cal": -3.0, "val/mse": 0.05}, "completed", "ok")
    journal.trial("0006", [-6.0, -5.5], "completed")
    journal.add("finish", reason="completed")
    return journal


def curve(number: int, epoch: int) -> float:
    """Better with each epoch; the third trial is the best."""
    return epoch - abs(number - 2)


class PlannedLoop(TuneLoop):
    """The loop of a plan that a driver runs, on the driver's own searcher and scheduler."""

    def __init__(self, plan: Any, journal: Journal, curve: Callable[[int, int], float] = curve) -> None:
        self.curve, self.peak, self.n_told, self.running = curve, 0, 0, []
        self.plan, self.metric, self.journal = plan, plan.metric, journal
        self.decisions, self.handing_out = search_loop.algorithms(plan, journal)


def with_some_reach(plan: Any, measuring: Any) -> Any:
    """The plan as if it had been measured how near its model comes to the data, which takes a process with PyTorch."""
    return plan.with_reach({"re": 0.1, "nll": 0.2}) if plan.awaits_reach else plan


@dataclass(frozen=True)
class Sweeps:
    """Sweeps of the driver with a curve in Ray's place: run(NAME, {path: value}), resume(NAME), cut(NAME, n).

    hooks: `value`, what (trial, epoch) reports, and `next_one`, which of n running trials is the next to report.
    """

    storage: Path
    data_dir: Path
    hooks: dict[str, Any] = field(default_factory=dict)

    def run(self, name: str, **paths: Any) -> Any:
        return driver.run_sweep(self.plan(name, **paths))

    def plan(self, name: str, **paths: Any) -> Any:
        defaults = {"space": "lr", "config.epochs": 3, "search.trials": 4, "search.sampler": "random"}
        own = {"name": name, "storage": str(self.storage), "tracking.offline": True, "resources.concurrency": 1}
        return make_plan(parse_spec(unflatten({**defaults, **own, **paths})), self.data_dir)

    def resume(self, name: str, **options: Any) -> Any:
        return driver.resume_sweep(self.storage, name, **{"offline": True, "data_dir": self.data_dir, **options})

    def journal(self, name: str) -> Path:
        return self.storage / name / "journal.jsonl"

    def cut(self, name: str, n_events: int) -> None:
        """What a driver leaves that was killed after so many lines; a negative number leaves so many out."""
        lines = self.journal(name).read_bytes().splitlines(keepends=True)
        self.journal(name).write_bytes(b"".join(lines[:n_events]))

    def check_cut_anywhere(self, name: str) -> None:
        """Cut after any of its lines and gone on with, a sweep ends as it did."""
        whole = self.events(name)
        for n in range(1, len(whole)):
            self.cut(name, n)
            self.resume(name)
            assert happened(self.events(name)) == happened(whole)
            assert self.events(name)[-1]["reason"] == "completed"

    def rewrite(self, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """A journal with each event changed."""
        events = [{**change(event)} for event in self.events(name)]
        self.journal(name).write_bytes(bytes_of({k: v for k, v in event.items() if k != "crc"} for event in events))

    def events(self, name: str) -> list[dict[str, Any]]:
        return read_journal(self.journal(name))


@pytest.fixture
def sweeps(tmp_path: Path, vae_data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(session: Any, tracker: Any) -> None:
        loop = PlannedLoop(session.plan, session.journal)
        loop.value = made.hooks.get("value", loop.value)  # type: ignore[method-assign]
        loop.run(made.hooks.get("next_one", lambda n: 0))
        for trial in session.journal.sweep.trials:
            (session.folder / "trials" / trial).mkdir(parents=True, exist_ok=True)
            (session.folder / "trials" / trial / "config.yaml").write_text(trial)

    monkeypatch.setattr(search_loop, "run", run)
    monkeypatch.setattr(driver, "reached", with_some_reach)
    made = Sweeps(tmp_path / "sweeps", vae_data_root)
    return made


@pytest.fixture
def tune_loop() -> type[TuneLoop]:
    return TuneLoop


@pytest.fixture
def planned_loop() -> type[PlannedLoop]:
    return PlannedLoop
