"""Which files look like keys: a table of names, each kind with what is nearly called so."""

import pytest

from trainables.key_files import CODE, ENDINGS, NO_TEXT, is_key_file

KEYS = (
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519.pub", "id_rsa.bak", "id_rsa_old"),
    *("deploy_id_rsa", "github_rsa", "server_ed25519", "ssh_host_rsa_key", "deploy_key", "deploy_key_prod"),
    *("deploy-key.txt", "key", "key.json", "key.txt", "keys.yaml", "keys.tar.gz", "my_key_2.txt", "rootkey.csv"),
    *("accessKeys.csv", "new_user_credentials.csv", "aws_credentials", "aws_credentials.txt", "credentials"),
    *("credentials.py", "credentials.json~", "CREDENTIALS.JSON", "application_default_credentials.json"),
    *("git-credentials", ".git-credentials", "creds.json", "service-account.json", "serviceAccountKey.json"),
    *("service_account_prod.json", "my-firebase-service-account.json", "gcp-creds.yml", "secret.txt"),
    *("secrets.yaml", "secrets.enc.yaml", "my_secrets.py", "my-secret.txt"),
    *("client_secret_123.apps.googleusercontent.com.json", "password", "passwords.csv", "db_password.txt"),
    *("passwd", "htpasswd", ".htpasswd", "passphrase.txt", "pwd.txt", "pass.txt", "vault_pass", "vault-pass.txt"),
    *("token", "token.json", "token.json.bak", "hf_token", "hf_token.txt", "hf.token", "api_token.py"),
    *("access_tokens.json", "github-token", "auth_token", "api_key.py", "api_keys.py", "apikey.txt", "API_KEY"),
    *("openai_key", "private_key.txt", "privateKey.bin", "ssh_keys", "signing-key.bin", "netrc", ".netrc"),
    *("_netrc", ".pgpass", "pgpass", ".pypirc", "authinfo", "kubeconfig", "kubeconfig.yaml", "auth.json"),
    *("kaggle.json", "jwt.txt", "session.key", ".env", "prod.env", ".env.local", ".env.production"),
    *("prod.env.txt", "server.pem", "server.pem.bak", "server.pem~", "tls.KEY", "x.p12", "x.pfx", "x.p8"),
    *("x.kdbx", "x.ppk", "x.jks", "x.keytab", "x.gpg", "vpn.ovpn", "main.tfstate", "nets/id_rsa"),
    *("secrets/prod.yaml", "nets/credentials/prod", "my.keystore"),
)
OTHERS = (
    *("nets.py", "tokenizer.py", "tokens.py", "token.py", "key.py", "keys.py", "rsa.py", "key_value.py"),
    *("keyboard.py", "monkey.py", "monkey.png", "monkey.json", "secretary.py", "secretariat.txt", "passing.py"),
    *("compass.json", "bypass.txt", "forward_pass.txt", "design.json", "keypoints.json", "key_points.csv"),
    *("key_points.npy", "key_points.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"),
    *("special_tokens_map.json", "special_tokens.json", "tokens.txt", "vocab.txt", "author.txt"),
    *("signature.json", "environment.yaml", "env.py", "env.json", "netrcs.txt", "keyed.json", "hotkeys.py"),
    *("turnkey.md", "donkey.txt", "hockey.csv", "encoder.layers.0.key.bin", "weights.bin", "secret.npy"),
    *("passwords.npz", "credentials.png", "id_rsa.jpg", "key.pt", "token.safetensors", "README.md", "LICENSE"),
    *("__init__.py", "public.crt", "secrets/model.py", "secrets/faces.npy", "kaggle_faces.csv", "config.json"),
    *("requirements.txt",),
)


@pytest.mark.parametrize("name", KEYS)
def test_a_file_that_may_hold_a_key_is_known_by_a_word_of_its_name(name):
    assert is_key_file(name)


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_nearly_called_so_is_none(name):
    assert not is_key_file(name)


@pytest.mark.parametrize("copy", ["", "~", ".bak", ".old", ".txt", ".1", ".bak.2"])
@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_every_ending_of_keys_counts_in_any_case_and_for_copies(ending, copy):
    assert is_key_file(f"x{ending}{copy}")
    assert is_key_file(f"nets/x{ending.upper()}{copy}")
    assert not is_key_file(f"x{ending}ed{copy}")


@pytest.mark.parametrize("ending", sorted(NO_TEXT))
def test_images_arrays_and_weights_are_none_whatever_they_are_called(ending):
    assert not any(is_key_file(f"{name}{ending}") for name in ("id_rsa", "secrets", "token", "x.pem", "secrets/key"))


@pytest.mark.parametrize("ending", sorted(CODE))
def test_code_is_none_for_being_about_keys_and_one_for_holding_secrets(ending):
    assert not any(is_key_file(f"{name}{ending}") for name in ("key", "keys", "token", "secrets/rsa"))
    assert all(is_key_file(f"{name}{ending}") for name in ("credentials", "api_keys", "my_secret", "HfToken"))
