"""A user's own model through a whole sweep: named in the spec, found by the workers, best, trained again, loaded."""

import json
import sys

import pytest
import yaml

import tuner
from trainables.errors import UserError
from tuner.sweeps.journal import read_journal

pytestmark = pytest.mark.cluster


def test_a_users_model_is_searched_trained_again_and_loaded(nets, workplace, cli):
    kind = f"{nets}:make"
    spec = {
        "name": "own",
        "config": {"model": {"kind": kind, "latent_dim": 3}, "epochs": 1},
        "space": {"model.kwargs.width": {"int": [8, 24]}},
        "search": {"trials": 2},
        "resources": {"concurrency": 1},
    }
    (workplace / "spec.yaml").write_text(yaml.safe_dump(spec))
    swept = cli(workplace, "sweep", "spec.yaml", "--format", "json")
    assert swept.code == 0, swept.err
    result = json.loads(swept.out)
    assert result["stop_reasons"] == {"completed": 2}

    del sys.modules[nets]
    found = cli(workplace, "best", "--export", "best.yaml", "--format", "json")
    best = json.loads(found.out)[0]
    assert best["config"]["model"] == result["best"]["config"]["model"]
    assert best["config"]["model"]["kind"] == kind
    assert cli(workplace, "status", "own").code == 0
    assert nets not in sys.modules

    trained = cli(workplace, "train", "best.yaml", "--format", "json")
    assert trained.code == 0, trained.err
    again = json.loads(trained.out)
    for name in ("val/elbo_cal", "val/mse", "val/kl"):
        assert again["metrics"][name] == best["metrics"][name]

    del sys.modules[nets]
    for run_id in (best["run_id"], again["run_id"]):
        with pytest.raises(UserError, match="may not import by itself"):
            tuner.load(run_id)
    assert nets not in sys.modules
    samples = [tuner.load(run_id, model=kind).sample(4, seed=0) for run_id in (best["run_id"], again["run_id"])]
    assert samples[0].equal(samples[1])


def test_a_model_that_hangs_or_interrupts_ends_its_own_trial_with_the_reason(nets, workplace):
    kinds = [f"{nets}:{name}" for name in ("InterruptsTraining", "make", "HangsInTraining")]
    result = tuner.sweep({
        "name": "own",
        "config": {"model": {"latent_dim": 3}, "epochs": 2, "batch_size": 64},
        "space": {"model.kind": {"choice": kinds}},
        "search": {"points": [{"model.kind": kind} for kind in kinds]},
        "resources": {"concurrency": 1, "retries": 1, "epoch_timeout": "8s"},
        "tracking": {"offline": True},
    })  # fmt: skip
    assert result.stop_reasons == {"error": 2, "completed": 1}
    assert result.exit_code == 0
    events = read_journal(workplace / "sweeps/own/journal.jsonl")
    lost = [(e["event"], e["trial"], e["error"].splitlines()[-1]) for e in events if e["event"] in ("failure", "end")]
    assert lost == [
        ("failure", "0000", "KeyboardInterrupt: in the middle"),
        ("end", "0000", "KeyboardInterrupt: in the middle"),
        ("end", "0002", "epoch 1 took longer than resources.epoch_timeout, 8 s"),
    ]
