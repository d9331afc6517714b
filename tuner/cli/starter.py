"""The sweep file that `vae-tuner init` writes."""

STARTER = """\
# A sweep: run it with `vae-tuner sweep FILE`, look first with `vae-tuner sweep FILE --plan`.

# State is kept in ./sweeps/NAME; left out, the name is SPACE-DATASET-N.
# name: my-first-sweep

# The fixed part of every trial; defaults fill the rest. What is fixed here is not searched below.
config:
  data: {name: digits}            # digits, mnist, fashion-mnist, cifar10, …, or your own: faces.npz, ./photos
  # model: {kind: conv}           # mlp (where nothing is said), conv, linear-vae, or your own: nets:make
  # epochs: 40                    # of a trial that is not pruned

# What varies: named spaces (`vae-tuner spaces` lists them), and dimensions by configuration path.
space:
  use: [geco-vs-annealing]
  # lr.base: {float: [1e-3, 1e-2], log: true}
  # batch_size: {choice: [32, 64]}
  # model.latent_dim: {int: [4, 32], log: true}
  # model.hidden: {choice: [[128], [256, 128]]}
  # objective.kappa: {float: [0.12, 0.2], log: true, when: {objective.kind: geco}}

search: {sampler: tpe, trials: 20, seed: 0, metric: auto}   # several metrics: [val/mse, val/kl] with nsga2
# search.ranking: each trial by its last epoch (last), its best (best), or the mean of its last five (mean-5)
scheduler: {kind: asha, grace: auto, reduction_factor: 3}   # grace in epochs; auto: from the longest warm-up
budget: {time: none, epochs: none}                          # the sweep stops in order: 2h, 90m; epochs of all trials
resources: {concurrency: auto, cpus_per_trial: 1, gpus_per_trial: none}
# resources.epoch_timeout: 30m ends a trial whose epoch takes longer
tracking: {experiment: vae-tuner}                           # uri: none is sqlite:///mlflow.db in this folder
"""
