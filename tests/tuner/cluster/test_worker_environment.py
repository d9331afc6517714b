"""What the processes of trials see of the environment: what is on the list, and no more."""

import pytest

from tuner.cluster.worker_environment import MORE, secrets_hidden_from_workers, seen_by_workers

A_TRIAL_NEEDS = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "VAE_TUNER_DATA"),
    *("RAY_TMPDIR", "RAY_AUTH_TOKEN", "TORCHINDUCTOR_CACHE_DIR", "PYTORCH_CUDA_ALLOC_CONF", "CUDA_VISIBLE_DEVICES"),
    *("NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SSL_CERT_FILE"),
    *("http_proxy", "HTTPS_PROXY", "no_proxy"),
)
NO_TRIAL_NEEDS = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "DATABRICKS_TOKEN", "DATABASE_URL", "SSH_PRIVATE_KEY"),
    *("SSH_AUTH_SOCK", "GITHUB_TOKEN", "HF_TOKEN", "PGHOST", "PGPASSWORD", "SLURM_JWT", "X_API_KEY", "MY_DATA"),
    *("GIT_ASKPASS", "WANDB_API_KEY", "OPENAI_API_KEY", "PYTHON_SECRET", "LC_PASSWORD"),
)
NEEDED, OTHERS = dict.fromkeys(A_TRIAL_NEEDS, "value"), dict.fromkeys(NO_TRIAL_NEEDS, "value")
KEYS = {
    "s3://bucket/sweeps": "AWS_SECRET_ACCESS_KEY",
    "gs://bucket": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs://c@account/x": "AZURE_STORAGE_CONNECTION_STRING",
}
STORAGES = ("./sweeps", "/shared/sweeps", "", "file:///shared", *KEYS)


@pytest.mark.parametrize("storage", [*STORAGES, None])
def test_what_a_trial_needs_is_seen_and_nothing_else(storage):
    assert seen_by_workers({**NEEDED, **OTHERS}, storage) == NEEDED


@pytest.mark.parametrize("storage", STORAGES)
def test_the_keys_of_object_storage_are_seen_only_where_the_sweep_lies_there(storage):
    found = seen_by_workers(dict.fromkeys(KEYS.values(), "key"), storage)
    assert set(found) == ({KEYS[storage]} if storage in KEYS else set())
    assert set(seen_by_workers(dict.fromkeys(KEYS.values(), "key"), None)) == {*KEYS.values()}


@pytest.mark.parametrize(("storage", "seen"), [("./sweeps", False), ("s3://bucket/sweeps", True)])
def test_a_proxys_password_is_seen_only_where_the_network_is_needed(storage, seen):
    assert bool(seen_by_workers({"HTTPS_PROXY": "http://me:hush@proxy:3128"}, storage)) is seen
    assert seen_by_workers({"HTTPS_PROXY": "http://proxy:3128"}, storage)


def test_the_users_setting_adds_names():
    mine = {"MY_DATA": "/data", "WANDB_API_KEY": "k", "HF_HOME": "h", "HF_TOKEN": "t"}
    setting = {MORE: "MY_DATA, hf_*"}
    assert set(seen_by_workers({**mine, **setting}, "")) == {"MY_DATA", "HF_HOME", "HF_TOKEN", MORE}
    assert seen_by_workers({**mine, MORE: ""}, "") == {MORE: ""}


def test_of_the_rest_secrets_and_the_trackers_are_hidden_and_a_nodes_own_stay(monkeypatch):
    theirs = {"MY_DATA": "/data", "HF_HOME": "/hf", "LOCAL_RANK": "0", "CC": "gcc"}
    for name, value in {**NEEDED, **OTHERS, **theirs, "DATABASE_URL": "postgresql://me:hush@h/d"}.items():
        monkeypatch.setenv(name, value)
    hidden = {*secrets_hidden_from_workers()}
    assert {"MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN", "DATABASE_URL", "PGPASSWORD", "WANDB_API_KEY"} <= hidden
    assert not {*NEEDED, *theirs} & hidden
