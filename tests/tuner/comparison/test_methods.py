import pytest

from tuner.comparison.methods import Scale, ending_at


@pytest.mark.parametrize("sigma", [0.15, None])
def test_a_beta_of_one_is_the_weight_of_one_and_the_sigma_of_the_model(sigma):
    scale = Scale(0.25, sigma, 784)
    assert ending_at("beta", scale.weight_of_one, scale)["beta.end"] == pytest.approx(1)
    assert scale.sigma_at(scale.weight_of_one) == (None if sigma is None else pytest.approx(sigma))
