"""The metrics of a trained model on the test set: for a comparison's report, never for a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean

import torch
from torch import Tensor

from trainables import metrics
from trainables.likelihoods import Gaussian
from trainables.random_streams import generator
from trainables.training.report import fit_metrics
from trainables.training.trainer import Trainer

EXAMPLES = slice(metrics.AGGREGATE_EXAMPLES)


def held_out_metrics(trainer: Trainer, draws: int) -> dict[str, float]:
    """`test/*`: fit and KL averaged over draws of z, whose noise all models of a split_seed share.

    Also of the aggregate posterior of 1,000 examples; `test/mi_saturated` is 1 where the marginal KL shows only their
    number.
    """
    first = trainer.evaluation("test")
    passes = [_numbers(fit_metrics(each, trainer.n_elements, "test")) for each in _passes(trainer, first, draws)]
    averaged = {name: fmean(found[name] for found in passes) for name in passes[0]}
    return {**trainer.test_metrics(), **averaged, **_aggregate(trainer, first)}


def held_out_nll(trainer: Trainer, samples: int, sigma: float | None = None) -> dict[str, float]:
    """`test/nll` of the first 1,000 test examples by K importance samples, the least of its bias, and how it was taken.

    Compare at one K. sigma: the pixel σ of the likelihood; None for the model's own, and under bits.
    """
    x = trainer.dataset.floats(trainer.dataset.test[: metrics.NLL_EXAMPLES])
    where = len(x), trainer.program.model.latent_dim, trainer.config.data.split_seed, "nll/test", trainer.device
    program, scales = trainer.program, trainer.scales
    if sigma is not None:
        program = replace(program, likelihood=Gaussian(sigma, trainer.config.model.output))
        scales = {"sigma": torch.tensor(sigma, device=trainer.device)}
    noise = partial(metrics.evaluation_noise, *where)
    found = metrics.importance_nll(program, trainer.values, x, scales, samples, noise)
    values = _numbers({name: value.mean() for name, value in found.by_name("test").items()})
    taken = {"test/nll_samples": float(samples), "test/nll_examples": float(len(x))}
    return values | taken | ({} if sigma is None else {"test/nll_sigma": sigma})


def _passes(trainer: Trainer, first: metrics.Evaluation, draws: int) -> list[metrics.Evaluation]:
    return [first, *(trainer.evaluation("test", sample) for sample in range(1, draws))]


def _aggregate(trainer: Trainer, found: metrics.Evaluation) -> dict[str, float]:
    """The aggregate posterior of the first 1,000 examples: KL and mutual information are of the same ones."""
    mean, log_variance, z = (values[EXAMPLES] for values in (found.mean, found.log_variance, found.z))
    draw, prior = generator(trainer.device, trainer.config.data.split_seed, "agg_kl_dims"), trainer.program.prior
    values = _numbers({
        "test/agg_kl_gauss": metrics.agg_kl_gauss(found.mean, found.log_variance, prior),
        "test/agg_kl_dims": metrics.agg_kl_dims(mean, log_variance, draw, prior),
        "test/mutual_info": metrics.mutual_information(mean, log_variance, z),
        "test/kl": found.kl[EXAMPLES].sum(-1).mean(),
    })  # fmt: skip
    kl, information = values.pop("test/kl"), values["test/mutual_info"]
    return {
        **values,
        "test/agg_c2st": metrics.agg_c2st(found.mean, found.log_variance, trainer.config.data.split_seed, prior),
        "test/marginal_kl": kl - information,
        "test/mi_saturated": float(metrics.saturated(information, len(mean))),
    }


def _numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    return dict(zip(values, torch.stack([value.double() for value in values.values()]).tolist(), strict=True))
