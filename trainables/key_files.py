"""Files that hold keys, known by their names: private keys, stores of keys, files of passwords and tokens."""

from __future__ import annotations

import re
from pathlib import PurePath

NO_TEXT = {
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".npy", ".npz", ".pt", ".pth", ".ckpt", ".safetensors", ".onnx", ".h5", ".hdf5"),
}
"""Images, arrays and weights hold no key, whatever they are called."""
CODE = {".py", ".pyi", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".so"}
"""Of these `key.py` and `token.py` are about keys and tokens; `credentials.py` and `api_key.py` may hold some."""
ENDINGS = {
    *(".pem", ".key", ".p8", ".p12", ".pfx", ".pkcs12", ".der", ".ppk", ".gpg", ".pgp", ".asc", ".jks", ".jceks"),
    *(".bks", ".keystore", ".keytab", ".kdb", ".kdbx", ".keychain", ".agekey", ".ovpn", ".env", ".token"),
    *(".tfstate", ".tfvars"),
}
NAMES = {"auth.json", "kaggle.json", "pass.txt", "pass"}
_COPY = re.compile(r"(?:\.(?:bak|backup|old|orig|copy|save|swp|txt|local|prod|production|staging|dev|\d+)|~)+$")
"""What is put behind a whole name: `server.pem.bak`, `.env.local`, `hf_token.txt`."""
_OF_KEYS = (
    r"api|access|account|admin|auth|deploy|encryption|host|hmac|license|master|private|root|secret|service|session"
    r"|shared|signing|ssh|ssl|tls|aws|azure|gcp|github|gitlab|openai|wandb"
)
_OF_TOKENS = r"api|access|auth|bearer|bot|github|gitlab|hf|huggingface|id|jwt|refresh|secret|session|slack|wandb"
_ANYWHERE = re.compile(
    r"(?<![^_])(?:secrets?|credentials?|creds?|passwords?|passwds?|passphrases?|pwd|htpasswd|netrc|pgpass|authinfo|pypirc"
    r"|kubeconfig|dockerconfigjson|keytab|keyring|keystore|keychain|service_?account|vault_?pass"
    rf"|(?:{_OF_KEYS})_?keys?|(?:{_OF_TOKENS})_?tokens?|id_(?:rsa|dsa|ecdsa|ed25519))(?![^_])"
)
_LAST = re.compile(r"(?<![^_])(?:keys?|token|jwt|rsa|dsa|ecdsa|ed25519)(?:_(?:\d+|old|new|bak|backup|copy|prod|dev))*$")


def is_key_file(name: str) -> bool:
    """Whether the name of a file, with its folders, looks like that of a key: `id_rsa`, `server.pem`, `hf_token.txt`,
    `my_secrets.py`, `serviceAccountKey.json`, `secrets/prod.yaml`.

    Whole words count: not `secretary.py`, `tokenizer.py`, `key_points.csv`, `added_tokens.json`, nor `monkey.svg`.
    """
    *folders, file = PurePath(name).parts
    if PurePath(file).suffix.lower() in NO_TEXT:
        return False
    whole = _COPY.sub("", file)
    ending = f".{whole.rpartition('.')[2].lower()}"
    if ending in ENDINGS or file.lower() in NAMES or _ANYWHERE.search(_words(file)):
        return True
    if ending in CODE:
        return False
    return bool(_LAST.search(_words(whole.partition(".")[0]))) or any(map(_ANYWHERE.search, map(_words, folders)))


def _words(name: str) -> str:
    """In lower case, with `_` between them: `serviceAccountKey` → `service_account_key`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
