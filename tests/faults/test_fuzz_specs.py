"""Sweep files changed by chance: each is a sweep that reads back to itself and can be planned, or is refused in one
sentence."""

import re
from random import Random

from fuzz import said_of, seeds_of
from mutations import mutated

from tuner.cli.options import overlaid_spec
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import parse_spec, spec_yaml
from tuner.sweeps.yaml_files import parse_yaml

FILES = (
    """\
name: my-sweep
config:
  data: {name: digits, n_train: 400}
  model: {kind: mlp, latent_dim: 8, hidden: [64, 32]}
  epochs: 6
  batch_size: 64
space:
  use: [geco-vs-annealing]
  lr.base: {float: [3e-4, 1e-2], log: true}
  objective.kappa: {float: [0.1, 0.2], log: true, when: {objective.kind: geco}}
  model.activation: {choice: [relu, tanh]}
search: {sampler: tpe, trials: 8, seed: 3, metric: auto}
scheduler: {kind: asha, grace: auto, reduction_factor: 3}
budget: {time: 2h, epochs: 100}
resources: {concurrency: 2, cpus_per_trial: 1, gpus_per_trial: none, retries: 2}
tracking: {experiment: digits, tags: {team: vision}}
storage: ./sweeps
""",
    """\
x-short: &short {epochs: 4, batch_size: 32}
config: {<<: *short, beta: {kind: cyclical, period: "40 steps"}, objective: {kind: elbo}}
space: batch-size
search: {sampler: random, trials: 4, repeats: 2, ranking: best}
scheduler: {kind: median, patience: 3}
""",
    """\
config: {epochs: 5, objective: {kind: iwae, samples: 4}, lr: {kind: one-cycle, max: 4e-3}, seed: 1}
space: {model.latent_dim: {int: [2, 16]}, beta.end: {choice: [0.5, 1, 2]}}
search: {sampler: grid, trials: 12, metric: [val/mse, val/kl]}
""",
)
ODD = (
    "-1", "0", "1e999", ".nan", "-.inf", "010", "1:30", "yes", "off", "null", "none", "auto", "[]", "{}", "[1, 2]",
    "{a: 1}", "2026-01-01", "99999999999999999999999", "1e-400", "''", "'400 steps'", "-3 steps", "geco", "&a x", "*a",
    "!!python/name:os.system", "!!binary aGk=", "é", "'\\0'", "x y", ".5", "1.5", "100", "? ", "|", "> ", "'a/b'",
    "../x", "0x10", "@", "%",
)  # fmt: skip
VALUE = re.compile(r"(?<=: )[^,{}\[\]\n]+|(?<=[\[ ])[^,{}\[\]:\n]+(?=[,\]])")
KEY = re.compile(r"[\w./-]+(?=: )")
N_PLANS = 20
"""Of how many files one is planned."""


def replaced(text, pattern, draw, by):
    """One of the places where a pattern stands, made another."""
    place = draw.choice([*pattern.finditer(text)])
    return text[: place.start()] + by(place[0]) + text[place.end() :]


def spec_file(seed):
    """The bytes of a seed."""
    draw = Random(f"spec {seed}")
    text = draw.choice(FILES)
    for _ in range(draw.choice((1, 1, 2, 3))):
        lines = text.splitlines(keepends=True)
        match draw.randrange(8):
            case 0 | 1 | 2:
                text = replaced(text, VALUE, draw, lambda _: draw.choice(ODD))
            case 3:
                text = replaced(
                    text, KEY, draw, lambda key: draw.choice((key[:-1], f"{key}x", f"lr.{key}", "1", key.upper()))
                )
            case 4:
                text = "".join([*lines, draw.choice(lines)])
            case 5:
                lines.remove(draw.choice(lines))
                text = "".join(lines)
            case 6:
                draw.shuffle(lines)
                text = "".join(lines)
            case _:
                return mutated(text.encode(), draw)
        if not (VALUE.search(text) and KEY.search(text)):
            break
    return text.encode()


def check_spec(path, planned, data_dir):
    spec = overlaid_spec(path, [])
    text = spec_yaml(spec)
    assert spec_yaml(parse_spec(parse_yaml(text, "spec.yaml"))) == text
    if planned and spec.resources.ray_address is None and spec.config.get("data", {}).get("name", "digits") == "digits":
        plan = make_plan(spec, data_dir)
        assert plan.resolved(plan.first) == plan.default


@seeds_of(5_000)
def test_a_sweeps_file_is_read_right_or_refused_in_one_sentence(seeds, tmp_path, vae_data_root, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, refused = tmp_path / "sweep.yaml", 0
    for seed in seeds:
        path.write_bytes(content := spec_file(seed))
        text = said_of(seed, lambda seed=seed: check_spec(path, seed % N_PLANS == 0, vae_data_root))
        refused += text is not None
        assert path.read_bytes() == content
    assert len(seeds) / 3 < refused < 0.9 * len(seeds)
    assert [*tmp_path.iterdir()] == [path]
