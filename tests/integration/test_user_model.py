"""A user's own model through a whole sweep: named in the spec, found by the workers, best, trained again, loaded."""

import json
import sys

import pytest
import yaml

import tuner
from trainables.errors import UserError

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
    samples = [tuner.load(run_id, model=kind).sample(4) for run_id in (best["run_id"], again["run_id"])]
    assert samples[0].equal(samples[1])
