"""What an expert writes instead of a sweep service: Optuna alone, in two processes that share a study.

The search of `stock_sweep.py`: a digits VAE, β's end and warm-up, successive halving. Tensors in place of a loader,
torch's fused Adam, a thread a process, and MLflow on SQLite told of a trial once, at its end.

    python plain_sweep.py N_TRIALS EPOCHS FOLDER
"""

import multiprocessing
import sys
import time
from pathlib import Path

import mlflow
import optuna
import torch
from mlflow.entities import Metric, Param
from sklearn.datasets import load_digits
from torch import nn

LATENT, HIDDEN, SIGMA, BATCH, LR = 8, 128, 0.163, 32, 6e-3
PROCESSES = 2


def trial_of(epochs, experiment):
    """The objective of a study, with everything that a process makes once."""
    torch.set_num_threads(1)
    client = mlflow.MlflowClient()
    images = torch.tensor(load_digits().images.reshape(-1, 64) / 16, dtype=torch.float32)
    train, val = images[598:], images[:299]
    n_steps = len(train) // BATCH

    def costs(encoder, decoder, x):
        mean, log_variance = encoder(x).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        recon = (decoder(z) - x).square().sum(-1).mean() / (2 * SIGMA**2)
        return recon, (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean() / 2

    def run(trial):
        end, warmup = trial.suggest_float("beta.end", 0.1, 4.0, log=True), trial.suggest_float("beta.warmup", 0, 0.5)
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
        decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 64), nn.Sigmoid())
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=LR, fused=True)
        run_id, points, step = client.create_run(experiment).info.run_id, [], 0
        try:
            for epoch in range(1, epochs + 1):
                for rows in torch.randperm(len(train))[: n_steps * BATCH].split(BATCH):
                    beta = end * min(1.0, step / max(1.0, warmup * epochs * n_steps))
                    recon, kl = costs(encoder, decoder, train[rows])
                    optimizer.zero_grad()
                    (recon + beta * kl).backward()
                    optimizer.step()
                    step += 1
                with torch.no_grad():
                    val_recon, val_kl = costs(encoder, decoder, val)
                found = {
                    "val/elbo": -(val_recon + val_kl).item(),
                    "val/recon": val_recon.item(),
                    "val/kl": val_kl.item(),
                    "train/recon": recon.item(),
                    "beta": beta,
                }
                now = int(time.time() * 1000)
                points += [Metric(name, value, now, epoch) for name, value in found.items()]
                trial.report(found["val/elbo"], epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return found["val/elbo"]
        finally:
            params = [Param(name, str(value)) for name, value in trial.params.items()]
            client.log_batch(run_id, metrics=points, params=params)
            client.set_terminated(run_id)

    return run


def study_in(folder, seed):
    return optuna.create_study(
        study_name="plain",
        storage=f"sqlite:///{folder}/study.db",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=3),
    )


def search(seed, n_trials, epochs, folder, experiment):
    study_in(folder, seed).optimize(trial_of(epochs, experiment), n_trials=n_trials)


def main(n_trials, epochs, folder):
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment = mlflow.set_experiment("plain").experiment_id
    study_in(folder, 0)
    share = n_trials // PROCESSES
    others = [
        multiprocessing.Process(target=search, args=(seed, share, epochs, folder, experiment))
        for seed in range(1, PROCESSES)
    ]
    for other in others:
        other.start()
    search(0, n_trials - share * len(others), epochs, folder, experiment)
    for other in others:
        other.join()
    assert all(other.exitcode == 0 for other in others)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())
