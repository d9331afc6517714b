"""What is learned from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainables.values import Count, Optional, Section, Seed


class DataConfig(Section):
    """What is learned from.

    name: `digits`, `mnist`, `fashion-mnist`, `cifar10`, `cifar100`, `celeba`, or a path: a `.npy`/`.npz` file, or a
        folder of images.
    n_train: how many training examples to use; `none` for all.
    image_size: side in pixels to which images are cropped to a square and scaled: of an image folder, where `none`
        keeps the images as they are, and of celeba, whose central 148×148 pixels are scaled to 64 where it is `none`.
    split_seed: decides split, validation noise and fixed bits; separate from `seed`.
    binarize: `none`, `dynamic` (fresh bits each step), `fixed` (drawn once from split_seed), or `soft` (gray values
        under a Bernoulli likelihood on purpose; not comparable with bits).
    likelihood: `auto` is Bernoulli where the data are bits or binarised, else Gaussian.
    """

    name: str = "digits"
    n_train: Annotated[Count | None, Optional] = None
    image_size: Annotated[Annotated[Count, Field(le=1024)] | None, Optional] = None
    split_seed: Seed = 0
    binarize: Literal["none", "dynamic", "fixed", "soft"] = "none"
    likelihood: Literal["auto", "gaussian", "bernoulli"] = "auto"

    @model_validator(mode="after")
    def _bits_are_bernoulli(self) -> DataConfig:
        if self.binarize != "none" and self.likelihood == "gaussian":
            raise ValueError(
                f"likelihood gaussian does not describe bits (binarize: {self.binarize}); use likelihood: bernoulli "
                "or binarize: none"
            )
        return self
