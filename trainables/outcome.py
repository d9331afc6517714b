"""The words for how a trial that trained to its end has ended, beside those of its objective."""

WORSE_THAN_MEAN = "worse-than-mean"
"""Its error is larger than that of the mean image, which needs no model."""
