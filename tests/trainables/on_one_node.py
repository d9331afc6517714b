"""Processes of one node that use a data set together; what each says of it, as JSON.

race ROOT LOCK: all load MNIST at once, from torchvision's files; LOCK `none` takes their lock away, and all prepare it.
share ROOT BINARIZE: all load MNIST, see all of it and look, while the others hold it, where it lies in memory.
"""

import gc
import json
import multiprocessing
import re
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from trainables.config import DataConfig
from trainables.data.dataset import load
from trainables.data.readers import built_in, prepared

K = 3
fork = multiprocessing.get_context("fork")
together = fork.Barrier(K, timeout=120)


def loaded(root, binarize):
    return load(DataConfig(name="mnist", binarize=binarize), root, torch.device("cpu"))


def race(root, lock):
    """How often this process prepared the set, and sums over what it got."""
    if lock == "none":
        prepared.FileLock = lambda *arguments, **options: nullcontext()
    times, original = [], built_in._train_and_test

    def counted(*arguments):
        times.append(together.wait() if lock == "none" else time.sleep(0.5))
        return original(*arguments)

    built_in._train_and_test = counted
    together.wait()
    mnist = loaded(root, "fixed")
    parts = mnist.train_batch(torch.arange(100), 0, 0), mnist.val, mnist.test
    return {"prepared": len(times), "sums": [int(part.sum()) for part in parts]}


def share(root, binarize):
    """Bytes by which this process' own memory grew from one load to the next, and of the mapped file."""
    loaded(root, binarize)
    gc.collect()
    before = anonymous()
    mnist = loaded(root, binarize)
    for batch in mnist.train_batches(torch.split(torch.randperm(len(mnist.train)), 500), 0, 0):
        batch.sum()
    together.wait()
    found = {"grown": anonymous() - before, "size": mnist.train.n_bytes, **mapping(str(mnist.train.array.filename))}
    together.wait()
    return found


def anonymous():
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def mapping(path):
    blocks = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
    (block,) = [block for block in blocks if path in block.partition("\n")[0]]
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", block, flags=re.M)}


def main(task, root, option):
    if task == "race":
        import torchvision.datasets  # noqa: F401  (once, and before they are forked)
    said = fork.SimpleQueue()

    def tell():
        torch.set_num_threads(1)
        said.put({"race": race, "share": share}[task](Path(root), option))

    processes = [fork.Process(target=tell, daemon=True) for _ in range(K)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(json.dumps([said.get() for process in processes if process.exitcode == 0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
