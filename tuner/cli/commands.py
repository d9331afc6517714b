"""The commands: verbs are functions of the modules beside this one, their examples stand here."""

from __future__ import annotations

import typer

from tuner.cli import jobs, models, reports, setup, sweeps

app = typer.Typer(
    name="vae-tuner",
    help="Find good hyper-parameters for variational autoencoders: sweeps on Ray Tune, recorded in MLflow.",
    epilog="First steps: vae-tuner sweep · vae-tuner best --export best.yaml · vae-tuner train best.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command(
    epilog="Example: vae-tuner sweep --dataset mnist --space geco-vs-annealing --trials 32 --set data.n_train=10000"
)(sweeps.sweep)
app.command(
    epilog="Examples: vae-tuner best --sweep geco-vs-annealing-digits-1 --export best.yaml · "
    "vae-tuner best --pareto val/mse,val/kl --where 'objective.kind = geco and lr.base >= 1e-3'"
)(models.best)
app.command(epilog="Example: vae-tuner train best.yaml --seed 1")(models.train)
app.command(epilog="Example: vae-tuner compare --dataset mnist --set data.n_train=10000 --epochs 20 --quick")(
    reports.compare
)
app.command(epilog="Example: vae-tuner report geco-vs-annealing-digits-1")(reports.report)
app.command(epilog="Example: vae-tuner export geco-vs-annealing-digits-1 digits.zip")(reports.export)
app.command(
    "lr-range", epilog="Example: vae-tuner lr-range --dataset mnist --set data.n_train=10000 --set optimizer.kind=radam"
)(models.lr_range)
app.command(epilog="Example: vae-tuner spaces geco-vs-annealing+batch-size")(setup.spaces)
app.command(epilog="Example: vae-tuner init my-sweep.yaml && vae-tuner sweep my-sweep.yaml --plan")(setup.init)
app.command(epilog="Example: vae-tuner resume geco-vs-annealing-digits-1 --trials +10")(sweeps.resume)
app.command(epilog="Example: vae-tuner sync geco-vs-annealing-digits-1")(sweeps.sync)
app.command(name="rm", epilog="Example: vae-tuner rm geco-vs-annealing-digits-1 --keep-best")(sweeps.remove)
app.command(epilog="Example: vae-tuner doctor my-sweep.yaml")(setup.doctor)
app.command(epilog="Example: vae-tuner status geco-vs-annealing-digits-1")(sweeps.status)
app.command(
    epilog="Example: vae-tuner submit my-sweep.yaml --cluster http://127.0.0.1:8265 --storage /shared/sweeps --follow"
)(jobs.submit)
app.add_typer(jobs.jobs, name="jobs")
