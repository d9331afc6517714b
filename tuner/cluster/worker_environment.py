"""What the processes of trials see of this one's environment: what a trial needs, by a list of names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from trainables.credentials import holds_secret, is_secret_name
from trainables.object_storage import is_remote

MORE = "VAE_TUNER_WORKER_ENV"
"""The setting that adds names: `DATA_ROOT,HF_*`. It is a variable and no field of a spec, which may be another's."""
NEEDED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TERM", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_*"),
    *("LANG", "LANGUAGE", "LC_*", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "MALLOC_*", "GLIBC_TUNABLES"),
    *("PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "VAE_TUNER_*", "TUNE_*"),
    *("TORCH*", "PYTORCH_*", "TRITON_*", "CUDA_*", "CUDNN_*", "CUBLAS_*", "NVIDIA_*", "NCCL_*", "GLOO_*"),
    *("ROCM_*", "ROCR_*", "HIP_*", "HSA_*", "MIOPEN_*"),
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "VECLIB_*", "NUMEXPR_*", "DNNL_*", "ONEDNN_*"),
    *("SLURM_JOB_ID", "SLURM_CPUS_*", "SLURM_JOB_CPUS_*", "SLURM_TMPDIR", "KUBERNETES_*"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_*"),
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
TRACKERS = ("MLFLOW_*", "DATABRICKS_*")
RAYS_OWN = ("RAY_*",)
"""With its token, which its own processes show each other."""
STORAGES = {
    r"s3:": ("AWS_*",),
    r"gc?s:": ("GOOGLE_*", "GCE_*", "CLOUDSDK_*"),
    r"abfss?:": ("AZURE_*",),
}


def seen_by_workers(environment: Mapping[str, str], storage: str | None) -> dict[str, str]:
    """The variables that a trial needs, among these. No other variable passes whose name or value holds a secret.

    storage: of the sweep, whose keys pass, and proxies with a password where it is object storage; None where it is not
    known: then the keys of every object storage do.
    """
    given = (*RAYS_OWN, *_of_storage(storage), *_named(environment))
    return {
        name: value
        for name, value in environment.items()
        if _is_one_of(name, given)
        or (_is_one_of(name, (*NEEDED, *PROXIES)) and not is_secret_name(name) and not holds_secret(value))
    }


def keys_of_storage(environment: Mapping[str, str], storage: str) -> dict[str, str]:
    """The variables that workers see for the sake of a sweep's storage alone, among these."""
    seen_anyway = seen_by_workers(environment, "")
    return {n: value for n, value in seen_by_workers(environment, storage).items() if n not in seen_anyway}


def secrets_hidden_from_workers() -> list[str]:
    """The variables of this process with a secret's name or value that they do not see, and those of the tracker. What
    else a node has under the same names is its own."""
    seen = seen_by_workers(os.environ, None)
    return [
        name
        for name, value in os.environ.items()
        if name not in seen and (_is_one_of(name, TRACKERS) or is_secret_name(name) or holds_secret(value))
    ]


def _of_storage(storage: str | None) -> Sequence[str]:
    """What only object storage takes."""
    if storage is not None and not is_remote(storage):
        return ()
    schemes = [names for scheme, names in STORAGES.items() if storage is None or re.match(scheme, storage)]
    return (*PROXIES, *(name for names in schemes for name in names))


def _named(environment: Mapping[str, str]) -> Sequence[str]:
    return [name.strip().upper() for name in environment.get(MORE, "").split(",") if name.strip()]


def _is_one_of(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.upper(), pattern) for pattern in patterns)
