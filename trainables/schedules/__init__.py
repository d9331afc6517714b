"""β, the pixel σ and the learning rate as functions of the optimiser step.

Every schedule is a pure function of (its fields, steps, budget): `steps` is an array of step numbers 0 … T−1, the
result the value used IN that step. Durations up to 1 are fractions of the budget T.
"""
