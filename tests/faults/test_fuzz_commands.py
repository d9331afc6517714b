"""Command lines drawn by chance: each does what it says, or is refused in one sentence; none writes anything."""

import re
from random import Random

import numpy as np
import pytest
import typer.main
from click.testing import CliRunner
from fuzz import seeds_of

from trainables.errors import UserError
from tuner.cli.commands import app

COMMAND = typer.main.get_command(app)
VERBS = sorted(set(COMMAND.commands) - {"jobs", "init"})
STARTS = ("train", "lr-range", "submit", "doctor", "compare")
"""What would start something: these are given files that do not exist."""
MISSING = ("missing.yaml", "no/such.yaml", "../missing.yaml", "é.yaml", "-", "")
REACHES_OUT = {"--cluster", "--ray-address", "--data-dir", "--working-dir", "--follow"}
NAMES = ("s", "..", "../x", "a b", "", "sweep.yaml", "x.npy", "broken.npy", "-1", "é", "*", "/", "\x1b[1m", "s" * 100)
VALUES = (
    *NAMES, "0", "-1", "3", "3.5", "1e-3", "99999999999999999999", "nan", "inf", "auto", "none", "+10", "digits",
    "geco", "geco+lr", "tpe", "grid", "asha", "val/mse", "val/mse,val/kl", "test/elbo", "json", "table", "2h", "-2h",
    "mlp", "cnn", "m:f", "cpu", "tpu", "sqlite:///no.db", "nonsense://", "a=b", "lr.base=1", "lr.base=[1",
    "lr={base: 1, base: 2}", "batch_size=32", "lr.base > 1e-3", "lr.base >", "x and y", "./x.npy", "./broken.npy",
)  # fmt: skip
FITTING = {
    "--trials": "3", "--epochs": "2", "--seed": "1", "--sampler": "random", "--scheduler": "none", "--grace": "1",
    "--metric": "val/mse", "--concurrency": "1", "--device": "cpu", "--time-budget": "1h", "--set": "batch_size=16",
    "--dataset": "./x.npy", "--space": "linear", "--format": "json", "--name": "a", "--repeats": "2", "--storage": "st",
}  # fmt: skip


def command_line(seed):
    """The words of a seed: a verb, options of its own with values that fit or not, and sometimes what is foreign."""
    draw = Random(f"command {seed}")
    verb = draw.choice((*VERBS, "sweep", "sweep", "best", "swep"))
    own = COMMAND.commands[verb].params if verb in COMMAND.commands else []
    options = [each for each in own if each.param_type_name == "option" and not REACHES_OUT & set(each.opts)]
    words = [draw.choice(MISSING)] if verb in STARTS else draw.sample(NAMES, draw.choice((0, 1, 1, 2)))
    if verb == "sweep" and draw.random() < 0.7:
        words = ["sweep.yaml"]
    for each in draw.sample(options, min(len(options), draw.randrange(4))):
        name = draw.choice(each.opts)
        fits = name in FITTING and draw.random() < 0.6
        words += [name] if each.is_flag else [name, FITTING[name] if fits else draw.choice(VALUES)]
    if draw.random() < 0.2:
        words.insert(draw.randrange(len(words) + 1), draw.choice(("--no-such", "-x", "--", "--set", "--format=json")))
    fixed = {"sweep": ["--plan"], "compare": ["--dataset", "missing.npy"]}
    return [verb, *fixed.get(verb, []), *words]


def said(words):
    """What a command line printed, None where it was refused in one sentence."""
    done = CliRunner().invoke(COMMAND, words)
    if isinstance(done.exception, UserError):
        assert "\n" not in str(done.exception), words
        return None
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        done.exception.add_note(repr(words))
        raise done.exception
    assert done.exit_code in (0, 2), words
    assert "Traceback" not in done.output, words
    return done.output if done.exit_code == 0 else None


@pytest.fixture
def folder(tmp_path, monkeypatch, vae_data_root):
    """A user's working directory, with a sweep's file and data, of which some are damaged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    np.save("x.npy", np.random.default_rng(0).random((200, 6)))
    (tmp_path / "broken.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-9])
    (tmp_path / "sweep.yaml").write_text("config: {epochs: 4, batch_size: 32}\nspace: linear\nsearch: {trials: 4}\n")
    return tmp_path


@seeds_of(2_000)
def test_a_command_line_is_obeyed_or_refused_in_one_sentence(seeds, folder):
    before, obeyed = sorted(folder.rglob("*")), 0
    for seed in seeds:
        words = command_line(seed)
        printed = said(words)
        obeyed += printed is not None
        assert sorted(folder.rglob("*")) == before, words
        assert printed is None or re.search(r"\S", printed), words
    assert len(seeds) / 40 < obeyed < len(seeds) / 2
