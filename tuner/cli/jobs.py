"""The verbs of sweeps that run as jobs: submit one, and look after those that were. Heavy imports wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tuner.cli.options import (
    AllowChangedOption,
    ConcurrencyOption,
    CpusPerTrialOption,
    Format,
    FormatOption,
    GpusPerTrialOption,
    LanesOption,
    MembersOption,
    MoreTrialsOption,
    OwnModelsOption,
    OwnUriOption,
    PatienceOption,
    RankingOption,
    RepeatsOption,
    SettingsOption,
    overlaid_spec,
    parsed_more_trials,
)

if TYPE_CHECKING:
    from tuner.cluster.job import Job
    from tuner.sweeps.spec import SweepSpec

ClusterOption = Annotated[
    str | None,
    typer.Option(
        help="Address of Ray's dashboard, as http://127.0.0.1:8265, or local: a process of this machine. Default "
        "RAY_API_SERVER_ADDRESS, else local.",
        show_default=False,
    ),
]
FollowOption = Annotated[bool, typer.Option("--follow", help="Show progress until it ends, then the result.")]
JobStorageOption = Annotated[
    str | None,
    typer.Option(
        help="Root of sweep states: a folder that every node sees, or s3://BUCKET/PREFIX.", show_default=False
    ),
]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        help="MLflow's store as the cluster's head reaches it; default the head's MLFLOW_TRACKING_URI, else mlflow.db "
        "in the storage.",
        show_default=False,
    ),
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as `submit` and `jobs list` print it.")]


def submit(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="YAML file of a sweep; options override it.", show_default=False)],
    cluster: ClusterOption = None,
    follow: FollowOption = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the sweep and its job; default SPACE-DATASET-RANDOM.", show_default=False),
    ] = None,
    storage: JobStorageOption = None,
    tracking_uri: TrackingOption = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to try.", show_default=False)] = None,
    repeats: RepeatsOption = None,
    model: Annotated[
        str | None, typer.Option(help="mlp, conv, linear-vae, or package.module:factory.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a trial that is not pruned.", show_default=False)
    ] = None,
    ranking: RankingOption = None,
    patience: PatienceOption = None,
    concurrency: ConcurrencyOption = None,
    lanes: LanesOption = None,
    members: MembersOption = None,
    cpus_per_trial: CpusPerTrialOption = None,
    gpus_per_trial: GpusPerTrialOption = None,
    allow_changed: AllowChangedOption = False,
    settings: SettingsOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be sent, and send nothing.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Hand a sweep to a Ray cluster, with your model's code and your arrays, and return at once."""
    from tuner import api
    from tuner.cli.console import working

    parsed = overlaid_spec(spec, settings, **context.params)
    if plan:
        _show_plan(parsed, cluster, allow_changed, output)
        return
    with working("Submitting"):
        job = api.submit(parsed, cluster=cluster, allow_changed=allow_changed)
    _shown(job, follow, output)


def _show_plan(spec: SweepSpec, cluster: str | None, allow_changed: bool, output: Format) -> None:
    from tuner.cli.console import err, print_notes
    from tuner.cli.job_tables import show_submission
    from tuner.cluster.backend_choice import cluster_address
    from tuner.cluster.submission import planned_submission

    ready = planned_submission(spec, cluster_address(cluster), Path.cwd(), allow_changed=allow_changed)
    print_notes(err(), ready.notes)
    show_submission(ready, cluster_address(cluster), output.value)


def _shown(job: Job, follow: bool, output: Format) -> None:
    """What was submitted, or its end."""
    from tuner.cli import job_tables as display_jobs
    from tuner.cli.console import err, print_notes

    print_notes(err(), job.notes)
    if follow:
        _followed(job, output)
    display_jobs.show_submitted(job, output.value)


def _followed(job: Job, output: Format) -> NoReturn:
    """Watch a job to its end, and end as it did."""
    from tuner.cli import job_tables as display_jobs
    from tuner.cluster.follow_job import follow

    with display_jobs.watched(job) as shown:
        ended = follow(job, shown.status)
    raise typer.Exit(display_jobs.show_followed(job, ended, output.value))


jobs = typer.Typer(
    help="Manage sweeps that were submitted.",
    epilog="Example: vae-tuner jobs list --cluster http://127.0.0.1:8265",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@jobs.command("list", epilog="Example: vae-tuner jobs list --cluster http://127.0.0.1:8265")
def list_jobs(cluster: ClusterOption = None, output: FormatOption = Format.TABLE) -> None:
    """List the jobs that a cluster knows, the latest last."""
    from tuner.cli import job_tables as display_jobs
    from tuner.cluster.backend_choice import backend_of

    backend = backend_of(cluster)
    display_jobs.show_jobs(backend.jobs(), backend.cluster, output.value)


@jobs.command(epilog="Example: vae-tuner jobs status geco-digits --cluster http://127.0.0.1:8265")
def status(
    job: JobArgument, cluster: ClusterOption = None, follow: FollowOption = False, output: FormatOption = Format.TABLE
) -> None:
    """Show how a job stands: trials by state, the best so far, epochs a second, the estimated end."""
    from tuner import api
    from tuner.cli import job_tables as display_jobs

    found = api.find_job(job, cluster=cluster)
    if follow:
        _followed(found, output)
    display_jobs.show_job(found, output.value)


@jobs.command(epilog="Example: vae-tuner jobs logs geco-digits --cluster http://127.0.0.1:8265")
def logs(job: JobArgument, cluster: ClusterOption = None) -> None:
    """Print what a job has printed."""
    from tuner import api

    typer.echo(api.find_job(job, cluster=cluster).logs(), nl=False)


@jobs.command(epilog="Example: vae-tuner jobs stop geco-digits --cluster http://127.0.0.1:8265")
def stop(job: JobArgument, cluster: ClusterOption = None) -> None:
    """Stop a job in order: every finished epoch is kept, and `jobs resume` goes on from there."""
    from tuner import api
    from tuner.cli import job_tables as display_jobs
    from tuner.cli.console import working

    found = api.find_job(job, cluster=cluster)
    with working("Stopping"):
        ended = found.stop()
    display_jobs.show_stopped(found, ended.state)


@jobs.command(epilog="Example: vae-tuner jobs resume geco-digits --cluster http://127.0.0.1:8265 --storage /shared/s")
def resume(
    sweep: Annotated[str, typer.Argument(help="The sweep.")],
    cluster: ClusterOption = None,
    follow: FollowOption = False,
    storage: JobStorageOption = None,
    trials: MoreTrialsOption = "+0",
    model: OwnModelsOption = None,
    allow_changed: AllowChangedOption = False,
    tracking_uri: OwnUriOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Go on with a sweep in a new job, from its storage: whatever became of the last one."""
    from tuner import api
    from tuner.cli.console import working

    more_trials = parsed_more_trials(trials)
    with working("Submitting"):
        job = api.resume_job(
            sweep,
            cluster=cluster,
            storage=storage,
            trials=more_trials,
            model=model,
            tracking_uri=tracking_uri,
            allow_changed=allow_changed,
        )
    _shown(job, follow, output)


@jobs.command(hidden=True, epilog="Example: vae-tuner jobs keep shipped/0123456789abcdef s3://BUCKET/PREFIX")
def keep(
    folder: Annotated[Path, typer.Argument(help="What was sent along with a job.")],
    place: Annotated[str, typer.Argument(help="Where it stays.")],
) -> None:
    """Put what was sent along with a job into object storage; a job on a cluster begins with it."""
    from trainables.data.readers.fetched import put
    from trainables.object_storage import PATIENCE, RemoteFolder

    put(folder, RemoteFolder(place, PATIENCE))
