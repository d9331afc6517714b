import pytest

from trainables.training.trajectory import trajectory


@pytest.fixture
def geco(in_memory, trial, gaussian):
    def make():
        data = in_memory(gaussian([4, 2, 0.5], 600))
        objective = {"kind": "geco", "kappa": 0.7}
        return trial(data, model={"kind": "linear-vae", "latent_dim": 2}, objective=objective, epochs=4, batch_size=50)

    return make


def test_it_is_the_trial_as_it_trains_anyway(geco):
    one, other = geco(), geco()
    found = trajectory(one, every=4)
    while other.epoch < 4:
        report = other.train_epoch()
    assert found["step"] == [float(step) for step in range(0, 48, 4)]
    assert all(len(values) == 12 for values in found.values())
    for name, value in one.params.items():
        assert (value == other.params[name]).all()
    every_step = trajectory(geco(), every=1)
    assert every_step["lambda"][-1] == pytest.approx(report.metrics["geco/lambda"], rel=1e-6)
    assert every_step["moving"][-1] == pytest.approx(report.metrics["geco/constraint"], rel=1e-6)
    assert found["kl"] == every_step["kl"][::4]


def test_other_objectives_have_no_multiplier(in_memory, trial, gaussian):
    trainer = trial(in_memory(gaussian([4, 2], 100)), model={"kind": "linear-vae", "latent_dim": 1}, epochs=2)
    assert set(trajectory(trainer)) == {"step", "recon_nll", "kl"}
