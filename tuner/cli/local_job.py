"""The process of a job of this machine: `python -m tuner.cli.local_job FOLDER` runs `vae-tuner` as ordered, and
writes down how it ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from filelock import FileLock

from tuner.cluster.local_process import JobFolder
from tuner.cluster.ray_thread import leave_process


def main(folder: JobFolder) -> None:
    """Run the job; SIGTERM before its sweep has begun ends it, and in the sweep stops that in order."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with FileLock(folder.lock):
        part = folder.pid.with_suffix(".part")
        part.write_text(str(os.getpid()))
        part.rename(folder.pid)
        code = _exit_code(json.loads(folder.job.read_text(encoding="utf-8"))["arguments"])
        part = folder.exit.with_suffix(".part")
        part.write_text(json.dumps({"code": code, "time": time.time()}))
        part.rename(folder.exit)
    leave_process(code)


def _exit_code(arguments: list[str]) -> int:
    from tuner import cli

    sys.argv = ["vae-tuner", *arguments]
    try:
        return cli.run()
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    main(JobFolder(Path(sys.argv[1])))
