"""What may vary in a sweep.

domains       Float, Int and Choice, conditions on a parent's value, and the spaces they form
annealing, geco, learning_rate, batch_size, optimizer
              the spaces themselves
catalogue     spaces by name, joined by `+`, or from a user's YAML
grid          every combination of a space, branch by branch, as fine as a number of trials allows
compile       a space as an Optuna define-by-run function, or as Optuna distributions
covering      few draws of a space that hold every option and every two extremes
reach         what a space can draw: what must be valid, and its longest warm-up
"""
