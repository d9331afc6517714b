"""κ_min in a sweep's life: measured once before its first line, kept there, and never again."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from search_spaces.geco import KAPPA, UNMEASURED
from trainables.errors import UserError
from tuner.running import driver, kappa_min
from tuner.running.kappa_min import reached
from tuner.sweeps.journal import bytes_of

GECO = {"space": "geco-vs-annealing"}


@pytest.fixture
def measured(monkeypatch):
    """Sweeps measure; what was measured is listed."""
    runs = []

    def epochs(plan, request, n_epochs):
        runs.append(json.loads(request["config"]))
        yield from ({"re": value, "nll": 2 * value} for value in (0.3, 0.1, 0.11))

    monkeypatch.setattr(kappa_min, "epochs_of", epochs)
    monkeypatch.setattr(driver, "reached", reached)
    return runs


def test_a_process_of_its_own_measures_what_the_plan_awaits(sweeps):
    plan = sweeps.plan("s", **GECO)
    told = []

    @contextmanager
    def shown(n):
        told.append(n)
        yield lambda: told.append("epoch")

    found = reached(plan, shown)
    assert told == [3, "epoch", "epoch", "epoch"]
    assert 0 < found.facts.kappa_min["re"] < found.facts.kappa_max["re"]
    assert reached(found, pytest.fail) is found
    assert reached(sweeps.plan("t"), pytest.fail).facts.kappa_min is None


def test_the_header_keeps_it_and_a_resumed_sweep_reuses_it(sweeps, measured):
    sweeps.run("s", **GECO)
    assert len(measured) == 1
    assert measured[0]["beta"] == {**measured[0]["beta"], "kind": "constant", "end": 1e-3}
    header = sweeps.events("s")[0]
    assert header["kappa_min"] == {"re": 0.1, "nll": 0.2}
    assert header["space"]["objective.kappa"]["float"] == pytest.approx(
        [KAPPA["re"].low * 0.1, 0.8 * header["kappa_max"]["re"]]
    )
    whole = sweeps.events("s")
    for n in (1, 4):
        sweeps.cut("s", n)
        assert sweeps.resume("s").finished == "completed"
        assert len(measured) == 1
        assert [event.get("config") for event in asked(sweeps.events("s"))] == [e["config"] for e in asked(whole)]


def asked(events):
    return [event for event in events if event["event"] == "ask"]


def test_a_journal_from_before_it_was_measured_goes_on_with_its_own_range(sweeps, measured):
    sweeps.run("s", **GECO)
    header, *rest = sweeps.events("s")
    limit = header["kappa_max"]["re"]
    old = {"float": [0.45 * limit, 0.8 * limit], "log": True, "when": {"objective.kind": ["geco"]}}
    header = {**header, "space": {**header["space"], "objective.kappa": old}}
    del header["kappa_min"]
    sweeps.journal("s").write_bytes(bytes_of([header, *rest[:2]]))
    sweeps.resume("s")
    assert len(measured) == 1
    kappas = [event["assignment"].get("objective.kappa") for event in asked(sweeps.events("s"))[1:]]
    assert all(0.45 * limit <= kappa <= 0.8 * limit for kappa in kappas if kappa)
    autos = {**GECO, "config.objective": {"kind": "geco"}, "space": "lr"}
    sweeps.run("auto", **autos)
    header, *_ = sweeps.events("auto")
    del header["kappa_min"]
    sweeps.journal("auto").write_bytes(bytes_of([header]))
    sweeps.resume("auto")
    assert {event["config"]["objective"]["kappa"] for event in asked(sweeps.events("auto"))} == {0.6 * limit}


def test_other_data_are_still_told_by_the_mean_images_error(sweeps, measured):
    sweeps.run("s", **GECO)
    header, *_ = sweeps.events("s")
    sweeps.journal("s").write_bytes(bytes_of([{**header, "kappa_max": {"re": 0.1, "nll": 0.4}}]))
    with pytest.raises(UserError, match=r"^sweep s cannot go on: its kappa_max would differ"):
        sweeps.resume("s")


@pytest.mark.parametrize("space", ["lr", "annealing"])
def test_a_sweep_without_geco_measures_nothing(space, sweeps, measured):
    sweeps.run("s", space=space)
    assert measured == []
    assert sweeps.events("s")[0]["kappa_min"] == {}


@pytest.mark.parametrize(
    ("epochs", "cause"),
    [
        (iter([{"re": 0.2}, {"re": float("nan")}]), "the run diverged"),
        (kappa_min.failure("Traceback …\n\nRuntimeError: no kernel image\n"), "RuntimeError: no kernel image"),
        (kappa_min.failure(" "), "its process died"),
    ],
)
def test_a_run_that_fails_leaves_a_share_of_the_mean_images_error_and_is_told(epochs, cause, sweeps, monkeypatch):
    def failing(plan, request, n_epochs):
        if isinstance(epochs, Exception):
            raise epochs
        return epochs

    monkeypatch.setattr(kappa_min, "epochs_of", failing)
    found = reached(sweeps.plan("s", **GECO))
    assert found.space.dimensions["objective.kappa"].low == pytest.approx(
        UNMEASURED["re"].low * found.facts.kappa_max["re"]
    )
    assert f"κ_min could not be measured: {cause}; GECO's κ begins at a share of κ_max" in found.notes


def test_a_range_of_ones_own_that_is_none_is_refused_before_anything_is_written(sweeps, measured):
    own = {"float": [2, 0.5], "relative_to": ["kappa_min", "kappa_max"]}
    with pytest.raises(UserError, match=r"kappa: 2 × kappa_min to 0\.5 × kappa_max is 0\.2 to 0\.1357 here"):
        sweeps.run("s", space={"use": ["geco"], "objective.kappa": own})
    assert not sweeps.journal("s").parent.exists()


def test_a_model_that_raises_says_why(sweeps, tmp_path, monkeypatch):
    """A real process, whose last line is the cause; it is given no secrets."""
    (tmp_path / "mine.py").write_text(
        "import os, sys, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, latent_dim):\n"
        "        super().__init__()\n"
        "        self.encoder = torch.nn.Linear(64, 2 * latent_dim)\n"
        "        self.decoder = torch.nn.Linear(latent_dim, 64)\n"
        "    def encode(self, x):\n"
        "        return self.encoder(x.flatten(1)).chunk(2, dim=1)\n"
        "    def decode(self, z):\n"
        "        return self.decoder(z)\n"
        "def make(shape, latent_dim):\n"
        "    if sys.argv[0].endswith('kappa_min.py'):\n"
        "        raise ValueError('secret' if 'MY_SECRET_TOKEN' in os.environ else 'as it should')\n"
        "    return Net(latent_dim)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plan = sweeps.plan("s", **GECO, **{"config.model": {"kind": "mine:make", "latent_dim": 4}})
    monkeypatch.setenv("MY_SECRET_TOKEN", "x")
    (note,) = [note for note in reached(plan).notes if "could not be measured" in note]
    assert "as it should" in note


def test_on_a_cluster_a_node_measures_with_the_share_of_a_trial(sweeps, monkeypatch):
    asked_for = []
    plan = sweeps.plan("s", **GECO)
    spec = plan.spec.model_copy(
        update={"resources": plan.spec.resources.model_copy(update={"ray_address": "head:6379", "cpus_per_trial": 2.0})}
    )

    def on_cluster(*arguments):
        asked_for.append(arguments[1:])
        return iter([{"re": 0.1}])

    monkeypatch.setattr(kappa_min, "epochs_on_cluster", on_cluster)
    monkeypatch.setattr(kappa_min, "epochs_here", lambda request: pytest.fail("the driver may have no device"))
    on_nodes = SimpleNamespace(spec=spec, gpus_per_trial=0.5)
    assert list(kappa_min.epochs_of(on_nodes, {}, 3)) == [{"re": 0.1}]
    assert asked_for == [(3, 2.0, 0.5)]
