"""A user's mistake: one sentence that names field, value and way out, exit code 2, nothing half-written."""

import numpy as np
import pytest

from tuner.sweeps.spec import DEFAULT_SPACE

MISTAKES = {
    "sweep --dataset minst": "data.name: 'minst' is not a known data set; did you mean `mnist`?; "
    "or a path to .npy or .npz",
    "sweep --model cnn": "model.kind: 'cnn' is unknown; known: mlp, conv, linear-vae, package.module:factory",
    "sweep --space gecko": "space: 'gecko' is unknown; did you mean `geco`?",
    "sweep --space geco+linear": "spaces geco and linear exclude each other: both decide objective.kind; "
    f"use {DEFAULT_SPACE}",
    "sweep --set lr.bas=1": "config: unknown key `lr.bas`; did you mean `lr.base`?",
    "sweep --set objective.kind=geco --set objective.kappa=0": "objective.kappa: 0 is not allowed; "
    "allowed: greater than 0 or 'auto'",
    "sweep --space clr --set lr.base=0.5": "space clr can draw lr.max = 0.002: lr: base 0.5 must be below max 0.002; "
    "lower lr.base or raise lr.max",
    "sweep --set beta.warmup=1.5": "space geco-vs-annealing can draw beta.kind = linear: beta.warmup: 1.5 is not "
    "allowed; allowed: a fraction of the budget from 0 to 1, or steps as in '400 steps'",
    "sweep --space linear --set beta.warmup='9999 steps'": "beta.warmup: 9999 steps is beyond the budget of 1480 steps "
    "(40 epochs); allowed: at most 1480 steps",
    "sweep --set batch_size=5000": "batch_size: 5000 is more than the 1199 training examples; allowed: 1 to 1199",
    "sweep --dataset wide.npy --set data.likelihood=bernoulli": "data.likelihood: bernoulli needs values in [0, 1], "
    "the data span [-3, 3]; rescale them or use gaussian",
    "sweep --dataset missing.npy": "data.name: {folder}/missing.npy does not exist; give the path of "
    "a .npy or .npz file",
    "sweep --dataset nan.npy": "data.name: x in {folder}/nan.npy has 10 values that are NaN or infinite; "
    "remove or impute them",
    "sweep --dataset flat.npy": "data.name: x in {folder}/flat.npy has shape (10,); allowed: N×D, N×H×W or N×C×H×W, "
    "one example a row",
    "sweep broken.yaml": "broken.yaml is not valid YAML: while parsing a flow sequence",
    "sweep list.yaml": "list.yaml must hold `key: value` lines, not list",
    "sweep none.yaml": "none.yaml does not exist; give the path of a YAML file, or start one with `vae-tuner init`",
    "sweep --tracking-uri http://127.0.0.1:9": "tracking server http://127.0.0.1:9 cannot be reached",
    "sweep --tracking-uri nonsense": "tracking URI 'nonsense' cannot be used; give a server as "
    "http://host:5000 or a database as sqlite:///mlflow.db",
    "sweep --name a/b": 'name: "a/b" is not allowed; allowed: 1 to 64 letters, digits, '
    "'.', '_' or '-', "
    "not starting with a dot",
    "sweep --trials 0": "search.trials: 0 is not allowed; allowed: greater than or equal to 1",
    "sweep --concurrency 0": "resources.concurrency: 0 is not allowed; allowed: greater than or equal to 1 or 'auto'",
    "sweep --metric test/elbo": "search.metric: test/elbo: test data must not select; use a val/ metric such as "
    "val/elbo",
    "sweep --metric val/mutual_info": "search.metric: val/mutual_info is estimated from N examples and cannot "
    "exceed ln N, near which it is not a result: most trials could not be ranked; use val/agg_kl_gauss. ",
    "sweep --metric val/elb": "search.metric: 'val/elb' cannot be optimised; did you mean `val/elbo`?",
    "sweep --grace 100": "scheduler.grace: 100 is beyond the 40 epochs of a trial; allowed: 1 to 40",
    "sweep --storage ''": 'storage: "" is not allowed; allowed: ',
    "doctor --storage ''": 'storage: "" is not allowed; allowed: ',
    "resume s --trials +99999999999999999999999": "--trials +99999999999999999999999: write how many more, up to "
    "+999999, as in --trials +10",
    "sweep --set nonsense": "--set nonsense: write PATH=VALUE, as in --set lr.base=3e-3",
    "sweep --device tpu": 'device: "tpu" is not allowed; allowed: auto, cpu, cuda or cuda:N',
    "sweep --gpus-per-trial 64": "resources.gpus_per_trial: 64 needs 64 GPU and this machine has ",
    "sweep --gpus-per-trial half": 'resources.gpus_per_trial: "half" is not allowed; allowed: auto, none, a share of a '
    "GPU from 0.01 to 1, or a whole number of them",
    "sweep --ray-address 127.0.0.1:9": "resources.ray_address: no Ray cluster answers at 127.0.0.1:9 (",
    "sweep --ray-address nonsense": "resources.ray_address: 'nonsense' is not allowed; allowed: auto, host:port",
    "sweep --set objective.constraint=foo": "space geco-vs-annealing can draw objective.kind = geco: "
    "objective.constraint: \"foo\" is not allowed; allowed: 'auto', 're' or 'nll'",
    "sweep --set kapa=1": "config: unknown key `kapa`; did you mean `objective.kappa`?",
    "sweep searched-data.yaml": "space custom: data.n_train must be the same for all trials; set it in config",
    "sweep two-weights.yaml": "space linear+custom: model.sigma and beta.end weigh the same two terms and cannot both "
    "vary; fix one",
    "sweep wrong-key.yaml": "unknown key `serch`; did you mean `search`?",
    "train none.yaml": "none.yaml does not exist; give the path of a YAML file, or start one with `vae-tuner init`",
    "train wrong-key.yaml": "unknown key `serch`; known: ",
    "status nope": "name: no sweep 'nope' in sweeps; there is none yet",
    "spaces nope": "space: 'nope' is unknown; known: linear, cyclical,",
    "best": "no MLflow database at {folder}/mlflow.db; run this in the folder of the sweep, or pass its store as "
    "--tracking-uri",
    "init list.yaml": "list.yaml exists; name another file, or remove it first",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    np.save(folder / "nan.npy", np.array([[1.0, np.nan]] * 10))
    np.save(folder / "flat.npy", np.ones(10))
    np.save(folder / "wide.npy", np.tile(np.linspace(-3, 3, 4), (400, 1)))
    (folder / "broken.yaml").write_text("a: [1")
    (folder / "list.yaml").write_text("- 1")
    (folder / "wrong-key.yaml").write_text("serch: {trials: 3}")
    (folder / "searched-data.yaml").write_text("space: {data.n_train: {choice: [300, 600]}}")
    (folder / "two-weights.yaml").write_text("space: {use: [linear], model.sigma: {float: [0.1, 0.3]}}")
    return folder


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(line, folder, mistake):
    arguments = [word.strip("'") for word in line.replace("'9999 steps'", "9999_steps").split()]
    said = mistake(folder, *(word.replace("_steps", " steps") for word in arguments))
    assert said.startswith(MISTAKES[line].format(folder=folder))
