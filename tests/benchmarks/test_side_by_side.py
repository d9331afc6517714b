"""What the studies of learning rates train in one step is what the trainer trains one after the other."""

import pytest
from side_by_side import data_of, train

from trainables.config.paths import parse_config
from trainables.resolve import resolve
from trainables.training.trainer import Trainer

SMALL = {"data": {"name": "digits", "n_train": 96}, "model": {"kind": "mlp", "latent_dim": 2, "hidden": [8]}}
MEMBERS = {
    "rates": [{"lr": {"kind": "constant", "base": rate}} for rate in (1e-3, 3e-3)],
    "cycles": [{"lr": {"kind": "clr", "base": base, "max": 1e-2}, "beta": {"end": 0.5}} for base in (1e-3, 5e-3)],
    "geco": [{"objective": {"kind": "geco", "kappa": kappa}} for kappa in (0.2, 0.25)],
}


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_members_end_as_they_do_alone(members, vae_data_root):
    facts, dataset = data_of({"data": SMALL["data"]}, vae_data_root)
    trees = [{**SMALL, "epochs": 2, "batch_size": 32, "device": "cpu", **member} for member in members]
    for tree, report in zip(trees, train(trees, facts, dataset), strict=True):
        trainer = Trainer(resolve(parse_config(tree), facts, threads=1), dataset)
        alone = [trainer.train_epoch() for _ in range(2)][-1]
        assert (report.epoch, report.diverged, report.outcome) == (alone.epoch, alone.diverged, alone.outcome)
        assert report.metrics == pytest.approx({name: alone.metrics[name] for name in report.metrics}, rel=1e-4)
