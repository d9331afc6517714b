"""The linear VAE, where GECO and constant β must end on one curve (reverse water-filling), through real training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.config.paths import parse_config, unflatten
from trainables.data.dataset import data_facts, load
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from tuner.comparison.design import Trained
from tuner.comparison.final_loss import answer_path
from tuner.comparison.request import Request, design_of
from tuner.running.comparison_stages import settled_weight

SPECTRUM = np.array([4, 2, 1, 0.5, 0.25, 0.1])
LATENTS, SEEDS = 4, 3
FIXED = {"batch_size": 512, "lr.base_batch_size": 512, "lr.base": 0.04, "model.latent_dim": LATENTS}


@pytest.fixture
def train(tmp_path):
    """The design on draws of a Gaussian, at one learning rate, and its runs trained by the trainer itself."""
    x = np.random.default_rng(0).standard_normal((8000, 6)) * np.sqrt(SPECTRUM)
    np.save(tmp_path / "gaussian.npy", x.astype(np.float32))
    asked = Request("c", str(tmp_path / "gaussian.npy"), "linear-vae", ("geco", "beta"), 12, SEEDS, settings=FIXED)
    design, config = design_of(asked, tmp_path)
    facts, data = data_facts(config.data, tmp_path), load(config.data, tmp_path, torch.device("cpu"))

    def end(run):
        trainer = Trainer(resolve(parse_config(unflatten({**design.base, **run.full})), facts), data)
        reports = [trainer.train_epoch() for _ in range(trainer.config.epochs)]
        history = [report.metrics for report in reports]
        test = trainer.test_metrics() if run.stage == "path" else {}
        return Trained(run, "completed", reports[-1].outcome, history[-1], settled_weight(history), test)

    return replace(design, rates=(0.04,)), lambda runs: [end(run) for run in runs]


@pytest.mark.slow
def test_geco_and_constant_beta_come_out_equivalent(train):
    design, trained = train
    pilot = trained(design.pilot())
    levels = design.levels(pilot)
    assert sum(level.kept for level in levels) >= 3
    rivals = trained(design.rival_pilots(levels))
    path = trained(design.path(levels, design.rival_rates(levels, rivals)))
    (result,) = answer_path(design, levels, [*pilot, *rivals], path).rivals
    assert (result.rival, result.verdict) == ("beta", "equivalent")
    for each in path:
        weight = next(level.weight for level in levels if level.kappa == each.run.kappa)
        assert design.lagrangian(each.test, weight, "test") == pytest.approx(least(weight), abs=0.15)


def least(weight):
    """The least KL + λ·SSE that there is, at β = 1/(2λ)."""
    beta, coded = 1 / (2 * weight), SPECTRUM[:LATENTS]
    kl = np.maximum(0, 0.5 * np.log(coded / beta)).sum()
    return kl + weight * (np.minimum(beta, coded).sum() + SPECTRUM[LATENTS:].sum())
