"""What a competent user writes with the stock stack: the other side of the sweep benchmark.

tune.Tuner with ASHA's defaults, OptunaSearch, a function trainable with a DataLoader, MLflowLoggerCallback on SQLite.

    python stock_sweep.py N_TRIALS EPOCHS FOLDER
"""

import sys
from pathlib import Path

import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LATENT, HIDDEN, SIGMA, BATCH = 8, 128, 0.163, 32


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 64), nn.Sigmoid())

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        recon = (self.decoder(z) - x).square().sum(-1).mean() / (2 * SIGMA**2)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
        return recon, kl


def train(config):
    torch.set_num_threads(1)
    images = torch.tensor(load_digits().images.reshape(-1, 64) / 16, dtype=torch.float32)
    train_set, val_set = images[598:], images[:299]
    loader = DataLoader(TensorDataset(train_set), batch_size=BATCH, shuffle=True, drop_last=True)
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
    total, step = config["epochs"] * len(loader), 0
    for epoch in range(config["epochs"]):
        for (x,) in loader:
            beta = config["beta_end"] * min(1.0, step / max(1, config["warmup"] * total))
            recon, kl = model(x)
            loss = recon + beta * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        with torch.no_grad():
            val_recon, val_kl = model(val_set)
        tune.report(
            {
                "epoch": epoch + 1,
                "train_loss": loss.item(),
                "train_recon": recon.item(),
                "train_kl": kl.item(),
                "beta": beta,
                "val_recon": val_recon.item(),
                "val_kl": val_kl.item(),
                "val_elbo": -(val_recon + val_kl).item(),
            }
        )


def main(n_trials: int, epochs: int, folder: Path) -> None:
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={
            "epochs": epochs,
            "beta_end": tune.loguniform(0.1, 4.0),
            "warmup": tune.uniform(0.0, 0.5),
        },
        tune_config=tune.TuneConfig(
            metric="val_elbo",
            mode="max",
            num_samples=n_trials,
            max_concurrent_trials=2,
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(),
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "ray"),
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="stock")],
        ),
    )
    best = tuner.fit().get_best_result()
    print(best.config, best.metrics["val_elbo"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())
