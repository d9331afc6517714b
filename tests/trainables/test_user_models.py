"""A user's factory as a model: found, called, and made a pure function of its parameters."""

import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.config.paths import parse_config
from trainables.errors import ConfigError
from trainables.models import build_model

SHAPE, M, B = (2, 3), 3, 5
CPU = torch.device("cpu")
RIGHT = ["make", "FlatOutput", "Tied", "FrozenAndBuffered", "BeginsAtZero", "Evaluating", "OtherNames"]


@pytest.fixture
def model_of(nets):
    def build(factory, shape=SHAPE, latent_dim=M, **kwargs):
        model = {"kind": f"{nets}:{factory}", "latent_dim": latent_dim, "kwargs": kwargs}
        return build_model(parse_config({"model": model}).model, shape)

    return build


def module_of(nets, factory, seed, **kwargs):
    """The module itself, as its user would make it."""
    torch.manual_seed(seed)
    return getattr(sys.modules[nets], factory)(SHAPE, M, **kwargs)


def examples(n=B):
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factory", RIGHT)
def test_the_model_is_the_module_under_its_parameters(factory, model_of, nets):
    """Also under parameters other than its own: seed 1 is not the seed it was built with."""
    model = model_of(factory)
    for seed in (0, 1):
        module = module_of(nets, factory, seed)
        if factory == "FrozenAndBuffered":  # what is not trained is that of seed 0
            first = module_of(nets, factory, 0)
            module.offset, module.encoder[1] = first.offset, first.encoder[1]
        params = model.init(seed, CPU)
        mean, log_variance = module.encode(examples().reshape(B, *SHAPE))
        torch.testing.assert_close(model.encode(params, examples()), (mean, log_variance))
        torch.testing.assert_close(model.decode(params, mean), module.decode(mean).reshape(B, 6))
        assert all(params[name].equal(value) for name, value in module.named_parameters() if value.requires_grad)


def test_kwargs_reach_the_factory(model_of):
    assert model_of("make", width=7).init(0, CPU)["encoder.1.weight"].shape == (7, 6)


def test_what_is_frozen_is_not_trained_and_the_same_under_every_seed(model_of):
    model = model_of("FrozenAndBuffered")
    assert not {"encoder.1.weight", "encoder.1.bias", "offset"} & model.init(0, CPU).keys()
    assert model.constants.keys() == {"encoder.1.weight", "encoder.1.bias", "offset"}
    assert all(value.equal(model_of("FrozenAndBuffered").constants[name]) for name, value in model.constants.items())


class Copies(TorchDispatchMode):
    """Counts what is copied, from one device to another among them."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += "_to_copy" in str(function)
        return function(*args, **(kwargs or {}))


def test_constants_are_copied_to_another_device_once(model_of):
    """A device without memory stands for a GPU."""
    meta = torch.device("meta")
    model = model_of("FrozenAndBuffered")
    params = model.init(0, meta)
    counted = []
    for _ in range(3):
        with Copies() as copies:
            model.encode(params, torch.empty(B, 6, device=meta))
            model.decode(params, torch.empty(B, M, device=meta))
        counted.append(copies.n)
    assert counted == [3, 0, 0]


def test_making_a_model_leaves_the_random_state_of_the_process(model_of):
    torch.manual_seed(3)
    model_of("make").init(7, CPU)
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert drawn.equal(torch.rand(4))


def test_training_one_trial_leaves_a_module_that_the_next_one_shares(model_of):
    model = model_of("pretrained")
    trained, fresh = model.init(0, CPU), model.init(0, CPU)
    for value in trained.values():
        value.add_(1)
    torch.testing.assert_close(model.init(0, CPU), fresh, rtol=0, atol=0)
    assert not any(value.equal(fresh[name]) for name, value in trained.items())


def test_members_side_by_side_are_the_models_one_by_one(model_of):
    model = model_of("make")
    members = [model.init(seed, CPU) for seed in (0, 1)]
    params = {name: torch.stack([member[name] for member in members]) for name in members[0]}
    means, _ = model.encode_members(params, examples())
    decoded = model.decode_members(params, means)
    for i, member in enumerate(members):
        torch.testing.assert_close(means[i], model.encode(member, examples())[0])
        torch.testing.assert_close(decoded[i], model.decode(member, means[i]))


def test_a_factory_can_be_deep_in_a_package(tmp_path, nets, model_of):
    package = tmp_path / f"pkg_{nets}" / "inner"
    package.mkdir(parents=True)
    (tmp_path / f"{nets}.py").rename(package / "nets.py")
    model = {"kind": f"{package.parent.name}.inner.nets:make", "latent_dim": M}
    assert build_model(parse_config({"model": model}).model, SHAPE).init(0, CPU)


def test_the_working_directory_comes_after_what_is_installed(tmp_path, nets, model_of):
    """A file of the user's called `json.py` replaces nothing."""
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('imported')")
    model_of("make")
    assert sys.path[-1] == str(tmp_path)
    import colorsys

    assert not colorsys.__file__.startswith(str(tmp_path))


def test_a_configuration_alone_imports_nothing(nets):
    parse_config({"model": {"kind": f"{nets}:make"}})
    assert nets not in sys.modules


# --- what goes wrong --------------------------------------------------------------------------------------------------


def refusal(build, *arguments, **options):
    with pytest.raises(ConfigError) as error:
        build(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def line_of(tmp_path, nets, text):
    lines = (tmp_path / f"{nets}.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def test_a_module_that_is_not_there(tmp_path, nets):
    config = parse_config({"model": {"kind": "no_such_pkg.nets:make"}}).model
    assert refusal(build_model, config, SHAPE) == (
        f"model.kind: no_such_pkg.nets:make: no module no_such_pkg is installed or in {tmp_path}; run this in the "
        "folder that holds it"
    )


def test_a_function_that_is_not_there(model_of, nets):
    assert refusal(model_of, "mak") == f"model.kind: {nets} has no function mak; did you mean `{nets}:make`?"
    assert refusal(model_of, "zzz") == f"model.kind: {nets} has no function zzz; define zzz(shape, latent_dim)"
    assert refusal(model_of, "not_callable").startswith(f"model.kind: {nets} has no function not_callable; ")


def test_an_exception_in_the_factory_is_told_with_its_line(model_of, nets, tmp_path):
    line = line_of(tmp_path, nets, "16 heads")
    assert refusal(model_of, "raises") == (
        f"model.kind: {nets}:raises raised ValueError: 16 heads do not divide 40 ({nets}.py:{line}); fix it, or "
        "model.kwargs"
    )


def test_ctrl_c_while_a_factory_runs_is_no_mistake_of_the_factory(model_of):
    with pytest.raises(KeyboardInterrupt):
        model_of("interrupts")


def test_a_module_without_values_is_refused(model_of, nets):
    assert refusal(model_of, "on_meta") == (
        f"model.kind: {nets}:on_meta returned a module whose encoder.1.weight has no values: it is on the device "
        "`meta`; make it on the CPU"
    )


def test_a_factory_that_exits_is_told_like_one_that_raises(model_of, nets, tmp_path):
    line = line_of(tmp_path, nets, "def exits") + 1
    assert refusal(model_of, "exits") == (
        f"model.kind: {nets}:exits raised SystemExit: 3 ({nets}.py:{line}); fix it, or model.kwargs"
    )


def test_an_exception_below_the_factory_is_told_with_the_users_line(model_of, nets, tmp_path):
    """torch raises it; the line is that of the user's call."""
    line = line_of(tmp_path, nets, "nn.Linear(n, width)")
    message = refusal(model_of, "make", width="wide")
    assert message.startswith(f"model.kind: {nets}:make raised TypeError: empty(): ")
    assert message.endswith(f"({nets}.py:{line}); fix it, or model.kwargs")


def test_an_argument_the_factory_does_not_take(model_of, nets):
    assert refusal(model_of, "make", widht=3) == (
        f"model.kind: {nets}:make raised TypeError: make() got an unexpected keyword argument 'widht'; fix it, or "
        "model.kwargs"
    )


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("a_dict", "returned a dict, not a torch.nn.Module; return one with encode(x) → (mean, log_variance) and "),
        ("no_decode", "returned a Linear without decode; give it encode(x) → (mean, log_variance) and decode(z)"),
        ("lazy", "returned a module whose encoder.3.weight has no shape yet; use layers that are not lazy"),
    ],
)
def test_what_is_no_model(factory, told, model_of, nets):
    assert refusal(model_of, factory).startswith(f"model.kind: {nets}:{factory} {told}")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library' ({file}:1); install it"),
        ("def make(:\n", "SyntaxError: invalid syntax ({file}, line 1) ({file}:1); fix it"),
        ("import sys\nsys.exit('wrong\\nplace')", "SystemExit: wrong place ({file}:2); fix it"),
    ],
)
def test_a_module_that_cannot_be_imported(source, told, model_of, nets, tmp_path):
    (tmp_path / f"{nets}.py").write_text(source)
    assert refusal(model_of, "make") == f"model.kind: importing {nets} raised {told.format(file=f'{nets}.py')}"
