"""What single models of a comparison look like: pictures side by side, KL by latent, and one run over its steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainables.config.models import is_user_kind
from trainables.data.dataset import load
from trainables.distributions import kl_to_standard_normal
from trainables.files.checkpoint import read
from trainables.files.pictures import is_image, write_grid
from trainables.files.trial_files import FILE_NAME
from trainables.global_settings import fresh
from trainables.training.trainer import Trainer
from trainables.training.trajectory import trajectory
from trainables.vae import Vae
from tuner.comparison.design import Trained
from tuner.reports.figures.method_looks import by_method, middle_level
from tuner.sweeps.atomic_files import write_json

COLUMNS = 10
STEPS, SPAN = 9, 2.5
LATENTS = 6


def examples_of(path: Sequence[Trained]) -> dict[str, Trained]:
    """A run of each method: the first seed at the middle level."""
    whole = [each for each in path if each.completed and each.folder]
    return {method: found[0] for method, found in by_method(middle_level(whole)).items()}


def kl_by_latent(examples: Mapping[str, Trained], data_dir: Path) -> dict[str, list[float]]:
    """The mean KL of each latent on test images, by method, the largest first. Nats."""
    found = {}
    for method, each in examples.items():
        vae, x = _opened(each, data_dir)
        mean, log_variance = vae.encode(x)
        found[method] = sorted(kl_to_standard_normal(mean, log_variance).mean(0).tolist(), reverse=True)
    return found


def write_gallery(examples: Mapping[str, Trained], data_dir: Path, folder: Path) -> dict[str, Path]:
    """Reconstructions, samples and traversals as PNG, a row or more for each method in its order; none for data that
    are no images. By what they show."""
    rows: dict[str, list[Tensor]] = {"reconstructions": [], "samples": [], "traversals": []}
    shape: tuple[int, ...] = ()
    for each in examples.values():
        vae, x = _opened(each, data_dir)
        if not is_image(vae.shape):
            return {}
        shape, some = vae.shape, x[:COLUMNS]
        rows["reconstructions"] += [] if rows["reconstructions"] else [some.flatten(1)]
        rows["reconstructions"].append(vae.reconstruct(some).flatten(1))
        rows["samples"].append(vae.sample(COLUMNS, seed=0).flatten(1))
        rows["traversals"] += _traversals(vae, x)
    written = {}
    for what, drawn in rows.items():
        if drawn:
            written[what] = folder / f"{what}.png"
            write_grid(written[what], torch.stack(drawn), shape)
    return written


def _traversals(vae: Vae, x: Tensor) -> list[Tensor]:
    """The latents of the largest KL, each moved over ±2.5 around the code of the first image."""
    mean, log_variance = vae.encode(x)
    largest = kl_to_standard_normal(mean, log_variance).mean(0).argsort(descending=True)[: LATENTS // 3]
    found = []
    for latent in largest.tolist():
        z = mean[:1].repeat(STEPS + 1, 1)
        z[:STEPS, latent] = torch.linspace(-SPAN, SPAN, STEPS)
        found.append(vae.decode(z).flatten(1))
    return found


def _opened(each: Trained, data_dir: Path) -> tuple[Vae, Tensor]:
    """A run's model and the test images, as the model sees them. [N, *shape]."""
    assert each.folder is not None
    checkpoint = read(each.folder / FILE_NAME)
    dataset = load(checkpoint.config.data, data_dir, torch.device("cpu"))
    kind = checkpoint.config.model.kind
    vae = Vae(checkpoint, model=kind if is_user_kind(kind) else None)
    return vae, dataset.floats(dataset.test).reshape(-1, *checkpoint.shape)


@fresh()
def followed(each: Trained, data_dir: Path, file: Path) -> dict[str, list[float]]:
    """A run trained once more, over its steps; kept in a file, from which it is read where it is there."""
    if not file.exists():
        assert each.folder is not None
        config = read(each.folder / FILE_NAME).config
        write_json(file, trajectory(Trainer(config, load(config.data, data_dir, torch.device(config.device)))))
    kept: dict[str, list[float]] = json.loads(file.read_text(encoding="utf-8"))
    return kept
