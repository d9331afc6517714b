"""A trial does not depend on what another did to its process before."""

import json
from contextlib import suppress
from functools import cache
from itertools import count
from operator import attrgetter

import numpy as np
import pytest
import torch
from torch import backends
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules import module as modules
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode

from trainables import global_settings
from trainables.config.paths import parse_config, plain
from trainables.data.dataset import data_facts, load
from trainables.errors import ConfigError
from trainables.global_settings import SETTINGS, apply, current, fresh, reset
from trainables.models.inspection import check_user_model
from trainables.resolve import resolve
from trainables.training.trainer import Trainer
from trainables.worker.lane import Lane
from trainables.worker.orders import Orders


class Passing(TorchDispatchMode):
    """A mode that changes nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **kwargs or {})


DEVICE = DeviceContext("meta")

OTHERS = {
    "default dtype": torch.float64,
    "default device and function modes": (DEVICE, [DEVICE]),
    "dispatch modes": [Passing()],
    "inference mode": True,
    "gradients": False,
    "saved tensors' hooks": (None, [(abs, abs)]),
    "autograd's threads": False,
    "forward gradients": False,
    "replay of views": True,
    "autocast's cache": False,
    "anomaly detection": (True, False),
    "autocast on cpu": (True, torch.float16),
    "autocast on cuda": (True, torch.bfloat16),
    "deterministic algorithms": (True, True),
    "denormal numbers flushed": True,
    "float32 matmul precision": "high",
    **{f"{name}.fp32_precision": "ieee" for name in global_settings.PRECISIONS},
    "cudnn.enabled": False,
    "cudnn.benchmark": True,
    "cudnn.deterministic": True,
    "cudnn.benchmark_limit": 3,
    **{f"cuda.matmul.{name}": False for name in global_settings.REDUCTIONS[:2]},
    "cuda.matmul.allow_fp16_accumulation": True,
    **{f"{name} attention": False for name in global_settings.ATTENTIONS},
    "reduced precision in attention": True,
    "order of attentions": [4, 3, 2, 1, 0],
    "fast path of attention": False,
    "mkldnn.enabled": False,
    "mkldnn.deterministic": True,
    "nnpack": False,
    "quantized.engine": "onednn",
    "linear algebra of CUDA": torch._C._LinalgBackend.Magma,
    "matrix products of CUDA": torch._C._BlasBackend.Cublaslt,
    "opt_einsum.enabled": False,
    "opt_einsum.strategy": "greedy",
    "new memory filled": False,
    "sparse tensors checked": True,
    "distributions' arguments checked": False,
    "overwrite_module_params_on_conversion as modules are converted": True,
    "swap_module_params_on_conversion as modules are converted": True,
    "_global_optimizer_pre_hooks": {7: print},
    "_global_optimizer_post_hooks": {7: print},
    "torch's warnings repeated": True,
    "Python's filters of warnings": [("error", None, Warning, None, 0)],
    **{name: {7: print} for name in global_settings.HOOKS},
    "_global_is_full_backward_hook": True,
    "NumPy's errors": dict.fromkeys(("divide", "over", "under", "invalid"), "raise"),
}
"""A value of each that no new process has."""

DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}

SET = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "no gradients": "torch.set_grad_enabled(False)",
    "autocast": "torch.set_autocast_enabled('cpu', True)",
    "denormals": "torch.set_flush_denormal(True)",
    "threads": "torch.set_num_threads(3)",
    "precision": "torch.set_float32_matmul_precision('medium')",
    "hook": "torch.nn.modules.module.register_module_forward_hook(lambda *call: 1 / 0)",
    "registration": "torch.nn.modules.module.register_module_parameter_registration_hook(lambda *call: 1 / 0)",
    "block of a device": "torch.device('meta').__enter__()",
    "inference": "kept.append(torch.inference_mode()) or kept[-1].__enter__()",
    "saved tensors": "torch.autograd.graph.saved_tensors_hooks(lambda x: 1 / 0, lambda x: x).__enter__()",
    "warnings": "__import__('warnings').simplefilter('error')",
    "numpy": "__import__('numpy').seterr(all='raise')",
}
"""What a user's model does to its process."""

MODEL = """
import torch
from user_nets_of_tests import Net

kept = []

def set_it():
    {set_it}

class Poison(Net):
    def encode(self, x):
        mean, log_variance = super().encode(x)
        if {when} == "step":
            set_it()
        return mean, log_variance

if {when} == "import":
    set_it()

def make(shape, latent_dim):
    made = Poison(shape, latent_dim)
    if {when} == "factory":
        set_it()
    return made
"""
SHARING = """
import {shared}
import torch
from {nets} import make
assert torch.is_autocast_enabled("cpu"), "as the module that is imported above has said"
"""
WHENS = ("import", "factory", "step")


@pytest.fixture(autouse=True)
def as_before():
    """Whatever a test sets, the next finds nothing of it."""
    with fresh():
        yield


@pytest.fixture
def model_that(nets, tmp_path):
    """model_that(what it does, when) → the kind of a user's model."""
    numbers = count()

    def write(set_it, when):
        name = f"poison_{next(numbers)}_{nets}"
        code = MODEL.format(set_it=set_it, when=repr(when)).replace("user_nets_of_tests", nets)
        (tmp_path / f"{name}.py").write_text(code)
        return f"{name}:make"

    return write


@pytest.fixture
def given(vae_data_root, tmp_path):
    """given(kind of model, epochs) → what a lane is given of a new trial."""
    numbers = count()

    def make(kind, epochs=1):
        config = parse_config({
            "data": {"n_train": 64}, "batch_size": 32, "epochs": epochs, "device": "cpu", "threads": 1,
            "model": {"kind": kind, "latent_dim": 2},
        })  # fmt: skip
        own = {"config": json.dumps(plain(resolve(config, data_facts(config.data, vae_data_root))))}
        own |= {"trial": str(next(numbers)), "folder": str(tmp_path / "trials"), "data_dir": str(vae_data_root)}
        return own | {"session": "a", "epochs_done": 0, "working_dir": str(tmp_path)}

    return make


def numbers_of(report):
    told = {name: value for name, value in report.get("metrics", {}).items() if not name.startswith("time/")}
    return told or report


@pytest.fixture
def trained(given):
    """trained(kind of model, lane) → the lane after a trial of one epoch, a new one where none is given, and what the
    trial has reported."""

    def train(kind, lane=None):
        own = given(kind)
        lane = lane or Lane(own)
        (report,) = lane.step(Orders(tuple(lane.members), (own,)))["reports"]
        return lane, numbers_of(report)

    return train


@cache
def _known():
    return {}


def undisturbed(trained, kind):
    """What a trial of this model of the user's reports where no other came before."""
    name = kind.partition(":")[2]
    if name not in _known():
        _known()[name] = trained(kind)[1]
    return _known()[name]


def test_every_setting_is_tried():
    assert OTHERS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_reset_and_put_back(name):
    if name.startswith("opt_einsum") and not backends.opt_einsum.is_available():
        pytest.skip("opt_einsum is not installed, and torch lets nobody set what it would do")
    SETTINGS[name].set(OTHERS[name])
    assert SETTINGS[name].get() == OTHERS[name] != SETTINGS[name].default
    with fresh():
        assert SETTINGS[name].get() == (OTHERS if name == global_settings.WARNINGS else DEFAULTS)[name]
    assert SETTINGS[name].get() == OTHERS[name]
    reset()
    assert current() == DEFAULTS


def test_blocks_of_the_caller_do_not_reach_into_ours_and_end_as_ever():
    def undone(x):
        raise AssertionError

    with torch.device("meta"), torch.inference_mode(), saved_tensors_hooks(undone, undone), Passing():
        with fresh():
            x = torch.ones(2, requires_grad=True)
            (x * x).sum().backward()
            assert x.grad.tolist() == [2.0, 2.0]
        assert torch.ones(1).is_meta
        assert torch.is_inference_mode_enabled()
    assert current() == DEFAULTS | {global_settings.WARNINGS: SETTINGS[global_settings.WARNINGS].get()}
    assert torch.ones(1, requires_grad=True).exp().grad_fn is not None


def test_a_new_process_has_the_defaults():
    """As they are named here, and as torch and NumPy have them in this process, in which nothing was set yet."""
    assert torch.empty(1).dtype == SETTINGS["default dtype"].default
    assert np.geterr() == SETTINGS["NumPy's errors"].default
    apply({})
    assert all(attrgetter(name)(backends).fp32_precision in ("none", "tf32") for name in global_settings.PRECISIONS)
    assert not any(getattr(modules, name) for name in global_settings.HOOKS)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("set_it", SET.values(), ids=SET)
def test_what_one_trials_model_sets_does_not_reach_the_next(set_it, when, model_that, trained, nets):
    alone = undisturbed(trained, f"{nets}:make")
    assert "val/elbo" in alone
    poisoned, _ = trained(model_that(set_it, when))
    assert trained(f"{nets}:make", poisoned)[1] == alone
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("set_it", SET.values(), ids=SET)
def test_trials_side_by_side_find_their_own_settings_at_every_epoch(
    set_it, when, model_that, given, nets, vae_data_root
):
    """Among others what the model of one sets as it is made, or called."""
    kinds = (f"{nets}:make", model_that(set_it, when), "mlp", f"{nets}:make")

    def epochs(kinds):
        """Of each trial, those that it told of before it failed, if it did."""
        lane, own = Lane(given("mlp")), [given(kind, epochs=3) for kind in kinds]
        told = {each["trial"]: [] for each in own}
        for start in (own, (), ()):
            for report in (lane.step(Orders(start=tuple(start))) or {"reports": ()})["reports"]:
                told[report["trial"]] += [numbers_of(report)] if "error" not in report else []
        return list(told.values())

    def by_itself(own):
        """The same of a trial in a process in which nothing else trains."""
        config, found = parse_config(json.loads(own["config"])), []
        with fresh(), suppress(Exception):
            trainer = Trainer(config, load(config.data, vae_data_root, torch.device("cpu")))
            for _ in range(3):
                found.append(numbers_of({"metrics": trainer.train_epoch().metrics}))
        return found

    together = epochs(kinds)
    assert together[1] == by_itself(given(kinds[1], epochs=3))
    assert together == [own for kind in kinds for own in epochs([kind])]
    assert [len(together[place]) for place in (0, 2, 3)] == [3, 3, 3]
    assert (current(), torch.get_num_threads()) == (DEFAULTS, 1)


@pytest.mark.parametrize("when", WHENS)
def test_each_trial_of_a_model_finds_what_its_code_sets(when, model_that, trained):
    """A module is imported once for many trials, and what its import sets is of each of them."""
    kind, as_it_is = model_that(SET["autocast"], when), model_that("pass", when)
    lane, first = trained(kind)
    trained("mlp", lane)
    assert trained(kind, lane)[1] == first
    assert trained(as_it_is, lane)[1]["val/elbo"] not in (None, first["val/elbo"])


def test_what_a_shared_module_sets_reaches_both_models_that_import_it(nets, tmp_path, trained):
    """Whichever is the first, and each time."""
    numbers = count()

    def two_models():
        own = f"{next(numbers)}_{nets}"
        (tmp_path / f"shared_{own}.py").write_text(f"import torch\n{SET['autocast']}\n")
        for name in "ab":
            (tmp_path / f"{name}_{own}.py").write_text(SHARING.format(shared=f"shared_{own}", nets=nets))
        return f"a_{own}:make", f"b_{own}:make"

    (one, other), (second_one, second_other) = two_models(), two_models()
    lane, first = trained(one)
    assert first["val/elbo"] not in (None, undisturbed(trained, f"{nets}:make")["val/elbo"])
    for kind in (other, one, second_other, second_one, other):
        assert trained(kind, lane)[1] == first
    assert trained(f"{nets}:make", lane)[1] != first


def test_each_trial_finds_what_an_installed_module_sets(nets, tmp_path, trained, monkeypatch):
    """Which lies in none of the user's folders."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / f"installed_{nets}.py").write_text(
        f"import torch\n{SET['autocast']}\nfrom {nets} import make\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    lane, first = trained(f"installed_{nets}:make")
    assert trained("mlp", lane)[1] != first
    assert trained(f"installed_{nets}:make", lane)[1] == first != undisturbed(trained, f"{nets}:make")


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("set_it", SET.values(), ids=SET)
def test_trying_a_model_leaves_the_process_of_the_caller_as_it_was(set_it, when, model_that):
    before = current(), torch.get_num_threads()
    model = parse_config({"model": {"kind": model_that(set_it, when), "latent_dim": 2}}).model
    with suppress(ConfigError):
        check_user_model(model, (1, 8, 8))
    assert (current(), torch.get_num_threads()) == before
