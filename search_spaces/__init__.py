"""What may vary in a sweep.

values        when two values are the same, and how YAML and messages write them
domains       Float, Int and Choice, with conditions on a parent's value
space         the spaces they form
annealing, geco, learning_rate, batch_size, optimizer
              the spaces themselves
catalogue     spaces by name, joined by `+`, or from a user's YAML
grid          every combination of a space, branch by branch
compile       a space as an Optuna define-by-run function, or as Optuna distributions
covering      few draws of a space that hold every option and every two extremes
reach         what a space can draw: what must be valid, and its longest warm-up
"""
