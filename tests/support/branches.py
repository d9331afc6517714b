"""Every branch of a space and every point of a grid, one by one: what those that count without enumerating must agree
with."""

import math

from search_spaces.domains import Choice


def branches(space):
    """Every combination of the choices that decide a kind or a condition, in the space's order."""
    parents = {parent for domain in space.dimensions.values() for parent in domain.when}
    found = [{}]
    for path, domain in space.dimensions.items():
        if isinstance(domain, Choice) and (path in parents or path.endswith(".kind")):
            steps = [[{path: o} for o in domain.options] if domain.holds({**space.fixed, **b}) else [{}] for b in found]
            found = [{**branch, **step} for branch, each in zip(found, steps, strict=True) for step in each]
    return found


def points(space, values):
    """Branch after branch the points of a grid, the values of its first dimension following each other."""
    for branch in branches(space):
        axes = {path: [branch[path]] if path in branch else values[path] for path in space.active(branch)}
        for index in range(math.prod(map(len, axes.values()))):
            point = {}
            for path, options in axes.items():
                index, place = divmod(index, len(options))
                point[path] = options[place]
            yield point
