"""What a configuration takes of a GPU's memory, from a few steps of it in a process of its own.

`python -m trainables.worker.probe` reads a request as JSON and prints the answer as its last line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainables.config import TrialConfig
from trainables.config.paths import parse_config
from trainables.data.dataset import Dataset, load
from trainables.data.examples import Examples
from trainables.models.user import make_importable
from trainables.out_of_memory import is_out_of_memory
from trainables.training.trainer import Trainer

STEPS = 3


def measure(request: Mapping[str, str]) -> dict[str, int | None]:
    """`memory_bytes` of the GPU and `peak_bytes` that a trial takes with its data, None where they are too many.

    Without a GPU both are None. request: `config` (a resolved TrialConfig as JSON), `data_dir`, and `working_dir`, in
    which a user's model is found.
    """
    make_importable(Path(request["working_dir"]))
    config = parse_config(json.loads(request["config"]))
    device = torch.device(config.device)
    try:
        dataset = load(config.data, Path(request["data_dir"]), device)
        run_briefly(config, dataset)
    except Exception as error:
        if device.type == "cuda" and is_out_of_memory(error):
            return {"memory_bytes": _memory(device), "peak_bytes": None}
        raise
    if device.type != "cuda":
        return {"memory_bytes": None, "peak_bytes": None}
    return {"memory_bytes": _memory(device), "peak_bytes": torch.cuda.max_memory_reserved(device)}


def run_briefly(config: TrialConfig, dataset: Dataset) -> Trainer:
    """A few train steps and a whole evaluation: all that the epochs of a trial consist of."""
    metrics = config.metrics.model_copy(update={"every": 1})
    trainer = Trainer(config.model_copy(update={"metrics": metrics}), _first(dataset, STEPS * config.batch_size))
    trainer.train_epoch()
    return trainer


def _first(dataset: Dataset, n: int) -> Dataset:
    train = dataset.train
    return replace(dataset, train=Examples(train.array, train.rows[:n]) if isinstance(train, Examples) else train[:n])


def _memory(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)


def main() -> None:
    request: dict[str, Any] = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        found = measure(request)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
