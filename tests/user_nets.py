"""What users bring as models: good ones, and ones each with one mistake. Copied into a user's folder by `nets`."""

import asyncio
import math
import sys
import time

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, shape, latent_dim, width=16, after=None):
        super().__init__()
        self.shape = shape
        n = math.prod(shape)
        layers = [nn.Flatten(), nn.Linear(n, width), nn.Tanh(), *([after(width)] if after else [])]
        self.encoder = nn.Sequential(*layers, nn.Linear(width, 2 * latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, width), nn.Tanh(), nn.Linear(width, n))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=-1)

    def decode(self, z):
        return self.decoder(z).reshape(len(z), *self.shape)


def make(shape, latent_dim, width=16):
    return Net(shape, latent_dim, width)


# --- unusual, and right -----------------------------------------------------------------------------------------------


class FlatOutput(Net):
    def decode(self, z):
        return self.decoder(z)


class Tied(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        self.decoder[0].bias = self.encoder[1].bias


class FrozenAndBuffered(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        self.encoder[1].requires_grad_(False)
        self.register_buffer("offset", torch.randn(latent_dim))

    def decode(self, z):
        return super().decode(z + self.offset)


class BeginsAtZero(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        nn.init.zeros_(self.encoder[-1].weight)
        nn.init.zeros_(self.decoder[-1].weight)


class Evaluating(Net):
    """Batch normalisation with constant averages, dropout that is off."""

    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim, after=lambda n: nn.Sequential(nn.BatchNorm1d(n), nn.Dropout()))
        self.eval()


class Mixed(Net):
    """Its decoder computes in float64."""

    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        self.decoder.double()

    def decode(self, z):
        return super().decode(z.double())


class OtherNames(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        self.recognition = self.encoder
        del self.encoder

    def encode(self, x):
        return self.recognition(x).chunk(2, dim=-1)


_loaded = {}


def pretrained(shape, latent_dim):
    """The same module at every call."""
    return _loaded.setdefault((shape, latent_dim), Net(shape, latent_dim))


class HangsInTraining(Net):
    def encode(self, x):
        if len(x) > 16:
            time.sleep(3600)
        return super().encode(x)


class InterruptsTraining(Net):
    def encode(self, x):
        if len(x) > 16:
            raise KeyboardInterrupt("in the middle")
        return super().encode(x)


# --- one mistake each -------------------------------------------------------------------------------------------------


def batch_norm(shape, latent_dim):
    return Net(shape, latent_dim, after=nn.BatchNorm1d)


def batch_norm_without_averages(shape, latent_dim):
    return Net(shape, latent_dim, after=lambda n: nn.BatchNorm1d(n, track_running_stats=False))


def dropout(shape, latent_dim):
    return Net(shape, latent_dim, after=lambda n: nn.Dropout(0.5))


class UnusedLayer(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        self.encoder.spare = nn.Linear(2, 2)
        self.encoder.forward = lambda x: nn.Sequential(*list(self.encoder)[:-1])(x)


class Detached(Net):
    def decode(self, z):
        return super().decode(z.detach())


class NotFinite(Net):
    def encode(self, x):
        mean, log_variance = super().encode(x)
        return mean, log_variance + math.inf


class OneTensor(Net):
    def encode(self, x):
        return self.encoder(x)


class TooFewLatents(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim - 1)


class ChannelsLast(Net):
    def decode(self, z):
        return super().decode(z).movedim(1, -1)


class RaisesInDecode(Net):
    def decode(self, z):
        raise RuntimeError("the decoder\nis not written yet")


class NoParameters(nn.Module):
    def __init__(self, shape, latent_dim):
        super().__init__()
        self.shape = shape
        self.register_buffer("weight", torch.ones(math.prod(shape), latent_dim))

    def encode(self, x):
        mean = x.flatten(1) @ self.weight
        return mean, -mean

    def decode(self, z):
        return (z @ self.weight.T).reshape(len(z), *self.shape)


class AllFrozen(Net):
    def __init__(self, shape, latent_dim):
        super().__init__(shape, latent_dim)
        self.requires_grad_(False)


class ExitsInEncode(Net):
    def encode(self, x):
        sys.exit(3)


class CancelledInEncode(Net):
    def encode(self, x):
        raise asyncio.CancelledError("no time")


class OnAnotherDevice(Net):
    def decode(self, z):
        return super().decode(z).to("meta")


class ExitsInBoth(ExitsInEncode):
    def decode(self, z):
        sys.exit("wrong\nplace")


# --- what never becomes a model ---------------------------------------------------------------------------------------


def raises(shape, latent_dim):
    raise ValueError("16 heads do not\n divide   40")


def exits(shape, latent_dim):
    sys.exit(3)


def a_dict(shape, latent_dim):
    return {"encoder": nn.Linear(2, 2)}


def no_decode(shape, latent_dim):
    module = nn.Linear(2, 2)
    module.encode = module.forward
    return module


def lazy(shape, latent_dim):
    return Net(shape, latent_dim, after=lambda n: nn.LazyLinear(n))


def on_meta(shape, latent_dim):
    return Net(shape, latent_dim).to("meta")


def interrupts(shape, latent_dim):
    raise KeyboardInterrupt


not_callable = 3
