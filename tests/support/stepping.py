"""Members put together by hand, in float64, and the inputs of a step."""

import torch

from trainables.layout import Layout
from trainables.training.step import Inputs, Members

CPU = torch.device("cpu")


def double(values):
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}


def initial(program, seed=0):
    """The parameters of a program, those of its likelihood among them."""
    return double(program.model.init(seed, CPU) | program.likelihood.init(CPU))


def stacked(trees):
    return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}


def members_of(programs, params):
    """The members of some programs, which share a step, with these parameters."""
    layout = Layout.of(params[0])
    flat = torch.stack([layout.flat(own) for own in params])
    made = Members(
        programs[0],
        layout,
        flat,
        programs[0].optimizer.init(flat),
        stacked([double(program.model.buffers(CPU)) for program in programs]),
        [program.objective for program in programs],
        [program.optimizer for program in programs],
    )
    made.states = tuple(
        stacked([double(program.objective.init()) for program in programs[where]]) for where in made.formulas
    )
    return made


def inputs_of(members, batches, noises, hypers, lrs):
    """Of a batch, a noise, and the numbers by name of each member."""
    numbers = [
        double({**objective.constants(), **own}) for objective, own in zip(members.objectives, hypers, strict=True)
    ]
    scales = members.program.likelihood.scales()
    shares = [
        {name: torch.stack([own[name] for own in numbers[where]]) for name in numbers[where.start]}
        for where in members.formulas
    ]
    return Inputs(
        torch.stack(batches),
        torch.stack(noises),
        {name: torch.stack([own[name] for own in numbers]) for name in scales},
        shares,
        torch.tensor(lrs, dtype=torch.float64),
    )
