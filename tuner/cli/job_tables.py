"""What jobs look like: tables, one JSON document, or a line of progress."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.status import Status

from trainables.object_storage import is_remote
from tuner.cli.console import command, err, new_table, out, print_json, print_notes
from tuner.cli.tables import no_best
from tuner.cluster.backend import LOCAL
from tuner.cluster.job_log import refusal_in
from tuner.reports.wording import text_of

if TYPE_CHECKING:
    from tuner.cluster.backend import JobInfo
    from tuner.cluster.follow_job import Followed
    from tuner.cluster.job import Job
    from tuner.cluster.submission import Submission

LINE_SECONDS = 10.0
TAIL_LINES = 15


def show_submitted(job: Job, output: str) -> None:
    """Print a job's id, and the commands that look at it, read its log and stop it."""
    if output == "json":
        print_json({"id": job.id, "sweep": job.sweep, "storage": job.storage, "cluster": job.backend.cluster})
        return
    out().print(f"Submitted {job.id}, state in {job.storage}", soft_wrap=True)
    for what, verb in (("Look at it", "status"), ("Read its log", "logs"), ("Stop it", "stop")):
        out().print(f"{what + ' with:':<19}{_verb(job, verb)}", soft_wrap=True)


def show_submission(ready: Submission, cluster: str, output: str) -> None:
    """Print what would be sent, file by file."""
    files = [(name, path.stat().st_size, str(path)) for name, path in sorted(ready.shipment.files.items())]
    if output == "json":
        job = {"sweep": ready.sweep, "storage": ready.storage, "cluster": cluster, "arguments": ready.arguments}
        print_json({**job, "files": [{"name": name, "bytes": size, "from": path} for name, size, path in files]})
        return
    table = new_table("file", "bytes", "from", rows=((name, f"{size:,}", path) for name, size, path in files))
    out().print(f"{ready.sweep} would go to {cluster}, state in {ready.storage}; sent with its spec:", soft_wrap=True)
    out().print(table if files else "nothing else")


def _verb(job: Job, verb: str) -> str:
    return command("jobs", verb, job.id, "--cluster", job.backend.cluster)


def show_jobs(jobs: Sequence[JobInfo], cluster: str, output: str) -> None:
    """Print a line for each job, the latest last."""
    if output == "json":
        print_json([{**vars(job), "cluster": cluster} for job in jobs])
        return
    rows = [(job.id, job.sweep, job.state, _clock(job.started), job.storage) for job in jobs]
    table = new_table("job", "sweep", "state", "started", "storage", rows=rows)
    out().print(table if jobs else "No jobs here yet; `vae-tuner submit` starts one.")


def show_job(job: Job, output: str) -> None:
    """Print how a job and its sweep stand."""
    status = job.status()
    if output == "json":
        print_json(status)
        return
    table = new_table("", "")
    table.add_row("job", f"{status['id']}: {status['state']}")
    table.add_row("started", _clock(status["started"]))
    if status["ended"]:
        table.add_row("ended", _clock(status["ended"]))
    for row in _progress_rows(status["progress"], status["state"]) if status["progress"] else ():
        table.add_row(*row)
    table.add_row("storage", status["storage"])
    out().print(table)
    if status["progress"] and not status["ended"]:
        print_notes(err(), status["progress"].get("notes", ()))
    if status["state"] == "failed":
        says = refusal_in(job.logs()) or f"It failed; read why with: {_verb(job, 'logs')}"
        err().print(says, soft_wrap=True)
    if status["state"] in ("failed", "stopped") and status["progress"]:
        err().print(f"Go on with: {_resume(job)}", soft_wrap=True)


def _progress_rows(progress: Mapping[str, Any], state: str) -> Iterator[tuple[str, str]]:
    yield "trials", f"{progress['n_trials']} of {progress['planned']}: {_counts(progress)}"
    if progress["best_trial"]:
        yield "best so far", f"{progress['metric']} {text_of(progress['best_value'])} (trial {progress['best_trial']})"
    yield "epochs", f"{progress['epochs']}, {progress['epochs_per_second']:.2g} a second"
    if state == "running" and progress["ends_at"]:
        yield "estimated end", _clock(progress["ends_at"])


def _counts(progress: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in progress["stop_reasons"].items()) or "none asked for yet"


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def show_stopped(job: Job, state: str) -> None:
    """Print that a job has ended, and how to go on."""
    out().print(f"Job {job.id}: {state}")
    if state != "succeeded" and job.status()["progress"]:
        out().print(f"Go on with: {_resume(job)}", soft_wrap=True)


def _resume(job: Job) -> str:
    """The command that goes on with a job's sweep, as it can be typed here."""
    return job.resume_command.replace("vae-tuner", command(), 1)


# --- followed ---------------------------------------------------------------------------------------------------------


class Watched:
    """The progress of a job on stderr: one line that changes in a terminal, one every ten seconds elsewhere."""

    def __init__(self, sign: Status | None) -> None:
        self._sign, self._told, self._last = sign, 0.0, ""
        self._noted = False

    def status(self, progress: Mapping[str, Any]) -> None:
        """Show how the sweep stands, and once what its plan notes."""
        if not self._noted:
            print_notes(err(), progress.get("notes", ()))
        self._noted = True
        line = _progress_line(progress)
        if self._sign:
            self._sign.update(line)
        elif line != self._last and time.monotonic() - self._told > LINE_SECONDS:
            self._told, self._last = time.monotonic(), line
            err().print(line, soft_wrap=True)


@contextmanager
def watched(job: Job) -> Iterator[Watched]:
    """A sign of life while a job is followed; Ctrl-C leaves it running, and says so."""
    console = err()
    try:
        if console.is_terminal:
            with console.status(f"{job.id} …") as sign:
                yield Watched(sign)
        else:
            yield Watched(None)
    except KeyboardInterrupt:
        console.print(
            f"The job goes on. Follow it again with: {_verb(job, 'status')} --follow; stop it with: "
            f"{_verb(job, 'stop')}",
            soft_wrap=True,
        )
        raise


def _progress_line(progress: Mapping[str, Any]) -> str:
    best = ""
    if progress["best_trial"]:
        best = f" · best {progress['metric']} {progress['best_value']:.4g} (trial {progress['best_trial']})"
    ends = f" · ends about {_clock(progress['ends_at'])}" if progress["ends_at"] else ""
    return (
        f"{progress['n_trials']} of {progress['planned']} trials: {_counts(progress)} · "
        f"{progress['epochs_per_second']:.1f} epochs/s{best}{ends}"
    )


def show_followed(job: Job, followed: Followed, output: str) -> int:
    """Print the result of a job that was followed, or why there is none; returns the exit code."""
    has_succeeded = followed.info is not None and followed.info.state == "succeeded"
    if not has_succeeded:
        _explain(job, followed)
    if followed.result:
        print_json(followed.result) if output == "json" else _show_result(job, followed.result, followed.status)
    return 0 if has_succeeded else 1


def _explain(job: Job, followed: Followed) -> None:
    console, info = err(), followed.info
    console.print(f"Job {job.id}: {info.state}" if info else f"Lost job {job.id}: {followed.lost}", soft_wrap=True)
    if info and info.state == "failed" and followed.result:
        failed = "It failed" if followed.result["stop_reasons"].get("completed") else "No trial completed"
        console.print(f"{failed}; read why with: {_verb(job, 'logs')}", soft_wrap=True)
    elif info and info.state == "failed":
        lines = [*followed.log.splitlines(), *info.message.splitlines()][-TAIL_LINES:]
        console.print(refusal_in(followed.log) or "\n".join(lines), soft_wrap=True)
    if info is None or followed.status:
        console.print(f"Go on with: {_resume(job)}", soft_wrap=True)


def _show_result(job: Job, result: Mapping[str, Any], status: Mapping[str, Any] | None) -> None:
    console = out()
    counts = ", ".join(f"{count} {reason}" for reason, count in result["stop_reasons"].items())
    console.print(f"{result['name']}: {result['n_trials']} trials ({counts}), {result['epochs']} epochs")
    best = result["best"]
    if best is None:
        console.print(no_best(result["stop_reasons"]))
        return
    metric = status["metric"] if status else ""
    value = f", {metric} {text_of(best['metrics'][metric])}" if metric in best["metrics"] else ""
    console.print(f"best: trial {best['trial']} ({best['method']}){value}")
    best_of = command("best", "--sweep", result["name"], "--export", "best.yaml")
    console.print(f"\nNext: {best_of} {_store(job)}", soft_wrap=True)


def _store(job: Job) -> str:
    """What finds the runs of a job's sweep, as far as it is known here."""
    if job.tracking_uri:
        return shlex.join(["--tracking-uri", job.tracking_uri])
    unnamed = f" (if none was named, the head's MLFLOW_TRACKING_URI, else sqlite:///{job.storage}/mlflow.db)"
    is_there = job.backend.cluster != LOCAL and not is_remote(job.storage)
    return f"with the sweep's --tracking-uri{unnamed if is_there else ''}"
