"""What is minimised."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.values import Auto, Count, NonNegative, Optional, Positive, Section


class Elbo(Section):
    """recon_nll + β·KL, with β from the `beta` schedule (Kingma & Welling 2014, Higgins et al. 2017).

    samples: Monte-Carlo draws of z per example.
    """

    kind: Literal["elbo"] = "elbo"
    samples: Count = 1


class FreeBits(Section):
    """recon_nll + β·Σ_g max(λ_g, batch mean of KL_g) (Kingma et al. 2016).

    free_bits: λ, nats that cost nothing: one number for every group of latents, or a list of one each.
    groups: into how many groups of neighbours the latents are divided; `none`: each latent is its own.
    """

    kind: Literal["free-bits"] = "free-bits"
    free_bits: NonNegative | tuple[NonNegative, ...] = 0.25
    groups: Annotated[Count | None, Optional] = None


class Geco(Section):
    """Minimise KL subject to a reconstruction constraint (Rezende & Viola 2018).

    kappa: what is accepted per element: the RMS error under `re`, the nats under `nll`; `auto` is 0.6 of what the mean
        image reaches (κ_max), or more where a run at β → 0 (κ_min) shows that to be out of reach.
    constraint: `auto` is `re` (squared error) under a Gaussian and `nll` under a Bernoulli likelihood.
    """

    kind: Literal["geco"] = "geco"
    kappa: Positive | Auto = "auto"
    constraint: Literal["auto", "re", "nll"] = "auto"


def target_of(kappa: float, constraint: str) -> float:
    """The error per element that GECO accepts: the mean square κ² under `re`, κ nats under `nll`."""
    return kappa**2 if constraint == "re" else kappa


class Iwae(Section):
    """−log (1/K)Σ_k w_k, log w = −recon_nll − β·(log q(z|x) − log p(z)) (Burda et al. 2015).

    samples: K; 1 is the ELBO with its KL estimated by the draw.
    """

    kind: Literal["iwae"] = "iwae"
    samples: Count = 5


ObjectiveConfig = Annotated[Elbo | FreeBits | Geco | Iwae, Field(discriminator="kind")]
