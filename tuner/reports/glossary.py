"""Words and symbols of the pages, each explained in a sentence where a page first uses it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """pattern: what its use looks like in a text, by default its name as a word."""

    name: str
    text: str
    pattern: str = ""

    def is_in(self, text: str) -> bool:
        return re.search(self.pattern or rf"(?<![\w/.-]){re.escape(self.name)}(?![\w/-])", text) is not None


TERMS = (
    # --- losses -------------------------------------------------------------------------------------------------------
    Term("KL", "KL(q(z|x) ‖ p(z)), what an example's code costs beyond the prior, in nats per example."),
    Term("nat", "the unit of losses and log-likelihoods, 1.44 bits.", r"\bnats?\b"),
    Term("distortion", "how badly an example is reconstructed: the squared error summed over its elements (SSE), or "
         "for bits the negative log-likelihood in nats."),
    Term("squared error per element", "(x − decoder's mean)², averaged over elements and examples, in squared units "
         "of the data. mse in tables.", r"squared error(?! summed)|(?<!/)\bmse\b"),
    Term("RMS error", "the root of the mean squared error per element."),
    Term("J", "KL + λ̂·distortion, in nats per example: the loss that all methods end by at a level, here on test "
         "images. Lower is better."),
    Term("β", "the weight of the KL in the loss distortion/(2σ²) + β·KL; 1 gives the ELBO.", "β"),
    Term("λ", "the weight of the distortion in GECO's loss KL + λ·distortion; it weighs as β = 1/(2λσ²), for bits 1/λ.",
         "λ(?!̂)"),
    Term("λ̂", "the λ on which GECO settled at a level: the median of its last 10 % of steps, over the pilots' seeds.",
         "λ̂"),
    Term("σ", "the decoder's standard deviation of an element, fixed.", "σ(?!_)"),
    Term("σ_eq", "the σ of a plain ELBO that weighs distortion and KL alike: √β·σ, under GECO √(1/2λ). One unit for "
         "all dials.", "σ_eq|sigma_eq"),
    # --- GECO ---------------------------------------------------------------------------------------------------------
    Term("GECO", "trains for the lowest KL whose reconstruction keeps to a bound κ, by a multiplier λ that grows while "
         "the bound is violated (Rezende & Viola 2018, “Taming VAEs”).", r"\bGECO\b|\bgeco\b"),
    Term("κ", "the error that GECO may leave: RMS per element, for bits nats per element.", r"κ(?!\*|_max)"),
    Term("κ_max", "the error of the mean image, which every model reaches.", "κ_max"),
    Term("κ_min", "the error that the model reaches in a run at β → 0, which no κ can be far below.", "κ_min"),
    Term("κ*", "the target of Q3: the middle one of the five levels of κ.", r"κ\*"),
    Term("level", "one of five values of κ, from 1.05 of κ_min to .8 of κ_max; from .75 to .95 where κ_min is near "
         "κ_max, and from .45 (bits: .58) where it is not known.", r"\blevels?\b"),
    Term("ok", "of a GECO run: its bound was met and held; of any other: its error is not above the mean image's."),
    Term("unsettled", "of a GECO run: at its end the error was off the bound by more than 2 % and more than chance; "
         "train longer."),
    Term("unmet", "of a GECO run: λ had too few updates to settle, or the bound was never met; train longer."),
    Term("infeasible", "of a GECO run: the bound was out of the model's reach, λ at its ceiling."),
    Term("slack", "of a GECO run: the bound asks for nothing, λ at its floor."),
    Term("worse-than-mean", "of any run: its error on validation examples is above that of the mean image by over 2 %, "
         "and more than chance; rescale the data to order 1, or train longer."),
    # --- methods ------------------------------------------------------------------------------------------------------
    Term("elbo", "the plain ELBO, β = 1.", r"(?<![\w/])(?:elbo|ELBO)\b(?!_)"),
    Term("beta", "β-VAE: a constant β.", r"(?<![\w/.])beta\b(?!\.)"),
    Term("linear", "β rises in a line from 0 to its end over a warm-up."),
    Term("cyclical", "β rises again and again, in cycles (Fu et al. 2019)."),
    Term("free-bits", "the first nats of each latent's KL are free (Kingma et al. 2016)."),
    Term("gqn", "σ falls from a large value to its end, as in GQN (Eslami et al. 2018)."),
    Term("iwae", "the importance-weighted bound of several draws (Burda et al. 2016)."),
    Term("dial", "what a search of the method varies, by the field's name in a configuration.", r"\bdials?\b"),
    Term("configuration path", "a field's name everywhere: in a spec, after --set, in MLflow.",
         r"(?<![\w/])(?:data|model|objective|beta|lr|optimizer)\.[a-z]\w+"),
    # --- statistics ---------------------------------------------------------------------------------------------------
    Term("95 %", "an interval that holds the true value in 95 of 100 such experiments, by Student's t over seeds. "
         "Those of Q1 do so for all rivals together, and include what choosing learning rates on few pilots leaves "
         "open; those of Q2 are bootstrapped.", r"95 %"),
    Term("equivalent", "the difference is surely within ±0.5 nat, a margin fixed beforehand, at every level: "
         "two one-sided t tests at 5 % (TOST) for each level of each rival. Said also where a difference that small is "
         "significant."),
    Term("lower / higher", "significantly so after Holm's correction, with an interval that leaves out 0.",
         r"\blower than\b|\bhigher than\b|^(?:lower|higher)$"),
    Term("undecided", "neither different nor equivalent by these tests, which more seeds may tell; or fewer than three "
         "levels, or less than 80 % of the runs, are left to judge by."),
    Term("p (Holm)", "how often a difference this large comes about by chance where methods are equal: exact sign-flip "
         "test over seeds, corrected for the number of rivals (Holm). With S seeds it cannot fall below 2/2^S.",
         r"\bHolm\b"),
    Term("pool", "a method's random, unpruned trials.", r"(?<![\w.-])pools?\b"),
    Term("quartiles", "a quarter, half and three quarters of the values lie below."),
    Term("hypergeometric", "the chance that n trials drawn from the pool without putting back contain a hit."),
    Term("hit", "a trial whose error on training data is within 2 % of κ*, and whose KL, carried to κ* along the "
         "frontier, is within 0.5 nat of the best known.", r"\bhits?\b"),
    # --- metrics ------------------------------------------------------------------------------------------------------
    Term("val/… and test/…", "measured on validation examples, by which trials are selected, and on test examples, by "
         "which nothing was selected.", r"(?<!\w)(?:val|test)/"),
    Term("elbo_cal", "the Gaussian ELBO at β = 1 with the σ that fits the training error best, so that σ, β and κ "
         "compare; nats per example, higher is better.", r"\belbo_cal\b"),
    Term("val/elbo", "the ELBO at β = 1 under the configured likelihood; nats per example, higher is better.",
         r"(?:val|test)/elbo\b(?!_)"),
    Term("nll", "−ln p(x) by importance sampling, in nats per example; lower is better.", r"/nll\b|\bNLL\b"),
    Term("agg_kl_gauss", "KL from a Gaussian with the mean and covariance of all codes to the prior, in nats: how far "
         "the codes as a whole are from the prior. 0 is best."),
    Term("agg_kl_dims", "the same, latent by latent and without the Gaussian, summed; in nats."),
    Term("agg_c2st", "the area under the curve of a classifier that tells codes from draws of the prior: 0.5 where it "
         "cannot, so that the prior has no holes."),
    Term("active units", "latents whose mean code moves with x.", r"active[ _]units"),
    Term("marginal KL", "KL minus the mutual information of code and example: what the codes as a whole are off the "
         "prior, in nats.", r"marginal[ _](?:KL|kl)"),
    Term("saturated", "the estimate has reached its own upper bound, and is not a result."),
    # --- searches -----------------------------------------------------------------------------------------------------
    Term("rung", "an epoch at which trials are compared and the worse ones stopped.", r"\brungs?\b"),
    Term("pruned", "stopped early because others did better at the same epoch."),
    Term("completed", "trained to its last epoch."),
    Term("diverged", "its loss or its parameters became NaN or infinite."),
    Term("budget", "stopped because the sweep's time or epochs were spent.", r"\d+ budget\b|^budget$"),
    Term("interrupted", "cut short with the sweep."),
    Term("outcome", "whether the error at the end is below the mean image's, and how GECO's bound stood."),
    Term("importance", "the share of what separates the best trials from the rest that a dimension explains "
         "(PED-ANOVA, Watanabe et al. 2023).", r"\b[Ii]mportances?\b|\bexplains\b"),
)  # fmt: skip
"""In the order in which a page explains them."""


def explained(blocks: Sequence[Sequence[str]]) -> list[list[Term]]:
    """The terms to explain in each block of texts: those that no block before has used, and those in their
    explanations."""
    found: list[list[Term]] = []
    left = list(TERMS)
    for texts in blocks:
        used: list[Term] = []
        waiting = list(texts)
        while waiting:
            new = [term for term in left if any(term.is_in(text) for text in waiting)]
            left = [term for term in left if term not in new]
            used += new
            waiting = [term.text for term in new]
        found.append(sorted(used, key=TERMS.index))
    return found
