"""Few cases that hold every pair of values of any two choices."""

from itertools import combinations


def pairwise_cases(choices):
    """Cases, a value of each choice by name, so that each pair of values of two choices is in one of them at least."""
    wanted = {frozenset({(a, x), (b, y)}) for a, b in combinations(choices, 2) for x in choices[a] for y in choices[b]}
    cases = []
    while wanted:
        case = dict(min(wanted, key=sorted))
        for name in choices:
            if name not in case:
                case[name] = max(choices[name], key=lambda value: len(_pairs({**case, name: value}) & wanted))
        wanted -= _pairs(case)
        cases.append({name: case[name] for name in choices})
    return cases


def _pairs(case):
    return {frozenset(pair) for pair in combinations(case.items(), 2)}
