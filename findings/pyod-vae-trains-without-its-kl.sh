#!/usr/bin/env bash
# PyOD's VAE trains without its KL by default, so that its beta means nothing.
#
# Versions: pyod 3.6.7, Python 3.11.
# Behaviour: `vae_loss` clamps the KL to at most `capacity`, whose default is 0. The loss then is the reconstruction
#   alone at every beta, no gradient reaches the KL, and the codes drift from the prior. Burgess et al. 2018, whom it
#   cites, have gamma·|KL − C|, which at C = 0 is the whole KL. A large capacity gives mean squared error + beta·KL,
#   that is, beta·D/2 in units of the ELBO of D columns.
# Output seen:
#   capacity 0: loss 0.1635 at beta 1 and 0.1635 at beta 1000; gradient of the mean code 0
#   capacity 1e9: loss 9.1635 at beta 1, 9.0000 of it the KL (9 nats); gradient 0.424
# Exits with 1 where beta, or the KL, counts.
# Torch is that of the environment that is active: source .venv/bin/activate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m pip install --quiet --disable-pip-version-check --target "$folder" pyod==3.6.7 tqdm==4.70.1 2>/dev/null
PYTHONPATH="$folder" python - <<'PY'
import inspect
import sys

import torch
from pyod.models.vae import VAE, vae_loss

torch.manual_seed(0)
x, x_recon = torch.rand(100, 30), torch.rand(100, 30)
capacity = inspect.signature(VAE).parameters["capacity"].default


def loss(beta, capacity):
    """The loss, and the norm of its gradient in the codes' means, which here it sees through the KL alone."""
    mean = torch.full((100, 2), 3.0, requires_grad=True)
    value = vae_loss(x, x_recon, mean, torch.zeros(100, 2), beta=beta, capacity=capacity)
    (gradient,) = torch.autograd.grad(value, mean)
    return value.item(), gradient.norm().item()


(small, no_gradient), (large, _) = loss(1.0, capacity), loss(1000.0, capacity)
whole, gradient = loss(1.0, 1e9)
print(f"capacity {capacity:g}: loss {small:.4f} at beta 1 and {large:.4f} at beta 1000; gradient of the mean code {no_gradient:g}")
print(f"capacity 1e9: loss {whole:.4f} at beta 1, {whole - small:.4f} of it the KL (9 nats); gradient {gradient:.3f}")
sys.exit(not (small == large and no_gradient == 0))
PY
