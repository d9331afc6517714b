"""One Ray for all sweeps of a process, counted from before their checks: none finds itself on another's."""

import os
import signal
import threading
import time
from contextlib import closing, suppress
from random import Random

import pytest

from trainables.errors import UserError
from tuner.cluster import ray_address, ray_users, shared_ray
from tuner.cluster.capacity import capacity_of
from tuner.cluster.ray_address import check_ray_reachable
from tuner.cluster.ray_users import RayUse
from tuner.cluster.shared_ray import SharedRay
from tuner.cluster.signals import Signals, StoppedError, stop_signals
from tuner.sweeps.spec import parse_spec

HERE = "this machine"


class OneRay:
    """As Ray is to a process: none, or one at a time."""

    def __init__(self, monkeypatch):
        self.at, self.namespace, self.storage = None, "", None
        for module in ("ray", "ray._private.worker"):
            monkeypatch.setattr(f"{module}.is_initialized", lambda: self.at is not None)
            monkeypatch.setattr(f"{module}.init", self.init)
            monkeypatch.setattr(f"{module}.shutdown", self.shutdown)
        monkeypatch.setattr("ray.runtime_context.get_runtime_context", lambda: self)
        monkeypatch.setattr("ray.nodes", list)
        monkeypatch.setattr(ray_address, "check_ray_reachable", lambda address: None)
        monkeypatch.setattr(ray_address, "check_ray_answers", lambda address: None)
        monkeypatch.setattr(shared_ray, "start_ray", self.start)
        monkeypatch.setattr(shared_ray, "end_ray", self.shutdown)

    def init(self, address, namespace="", **options):
        assert self.at is None, "a second Ray"
        if address == "gone":
            raise ConnectionError
        self.at, self.namespace = address, namespace

    def start(self, cpus, storage):
        self.init(HERE)
        self.storage = storage

    def shutdown(self):
        self.at = None


@pytest.fixture
def one_ray(monkeypatch):
    return OneRay(monkeypatch)


def spec(address, storage="./sweeps"):
    return parse_spec({"resources": {"ray_address": address}, "storage": storage})


def shared(address, storage="./sweeps"):
    return SharedRay(spec(address, storage), Signals())


@pytest.mark.parametrize(("one", "other"), [("a:1", None), (None, "a:1"), ("a:1", "b:1")])
def test_no_sweep_takes_the_ray_of_another_between_its_check_and_its_trials(one, other, one_ray):
    with closing(shared(one)) as first, closing(shared(other)) as second:
        first.join()
        with pytest.raises(UserError, match=r"^resources.ray_address: another sweep of this process runs on the Ray"):
            second.join()
        with pytest.raises(UserError, match=r"wait for its end, or run this one in a process of its own$"):
            capacity_of(other)
        with first.started(1):
            assert one_ray.at == (one or HERE)
        second.join()
        assert one_ray.at == other


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_a_sweep_trains_on_its_own_ray_and_the_last_leaves_none(seed, one_ray):
    draw, training = Random(seed), {}
    for _ in range(60):
        free = draw.choice(["a:1", "b:1", None])
        step = draw.choice(["join", "train", "close", "plan"])
        if step == "join":
            sweep = shared(free)
            with suppress(UserError):
                sweep.join()
                training[sweep] = (free, None)
        elif step == "plan":
            with suppress(UserError):
                capacity_of(free)
        elif training:
            sweep = draw.choice(list(training))
            address, block = training[sweep]
            if step == "close":
                sweep.close()
                del training[sweep]
            elif block is None:
                block = sweep.started(1)
                block.__enter__()
                training[sweep] = (address, block)
        assert len({address for address, _ in training.values()}) <= 1
        assert all(one_ray.at == (address or HERE) for address, block in training.values() if address or block)
    for sweep in training:
        sweep.close()
    assert not training or one_ray.at is None
    assert not ray_users.in_use()


def test_a_cluster_that_cannot_be_joined_leaves_nothing(one_ray):
    before = dict(os.environ)
    sweep = shared("gone")
    with pytest.raises(UserError, match="no Ray cluster answers at gone"):
        sweep.join()
    sweep.close()
    assert not ray_users.in_use()
    assert dict(os.environ) == before


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense"])
def test_an_address_is_tried_also_where_the_caller_has_started_ray(address, one_ray, monkeypatch):
    monkeypatch.setattr(ray_address, "check_ray_reachable", check_ray_reachable)
    one_ray.init("the caller's")
    with closing(shared(address)) as sweep, pytest.raises(UserError, match=rf"^resources.ray_address: .*{address}"):
        sweep.join()
    assert one_ray.at == "the caller's"


def test_the_environment_is_as_before_once_the_last_has_ended(one_ray, monkeypatch):
    monkeypatch.delenv("RAY_AIR_NEW_OUTPUT", raising=False)
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "10")
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "7")
    before = dict(os.environ)
    first, second = shared(None), shared(None)
    first.join()
    second.join()
    with first.started(1):
        assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "10"
        monkeypatch.setenv("TUNE_RESULT_BUFFER_LENGTH", "1")  # as Tune does
    assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"
    second.close()
    assert dict(os.environ) == before


# --- the keys of its storage ------------------------------------------------------------------------------------------


@pytest.fixture
def keys(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "hush, too")


@pytest.mark.parametrize(
    ("first", "second", "differing"),
    [
        ("./sweeps", "s3://b/x", "AWS_SECRET_ACCESS_KEY"),
        ("s3://b/x", "./sweeps", "AWS_SECRET_ACCESS_KEY"),
        ("s3://b/x", "abfs://b/x", "AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_KEY"),
        ("s3://b/x", "s3://c/y", None),
        ("./sweeps", "/elsewhere", None),
        ("abfs://b/x", "abfs://c", None),
    ],
)
def test_workers_of_the_shared_ray_have_the_keys_of_each_sweeps_storage_alone(first, second, differing, one_ray, keys):
    with closing(shared(None, first)) as one, closing(shared(None, second)) as other:
        one.join()
        if differing is None:
            other.join()
            with other.started(1):
                assert one_ray.storage == first
            return
        with pytest.raises(UserError) as refused:
            other.join()
        assert str(refused.value).startswith(f"storage: {second} needs another {differing} in its workers, or none, t")
        assert "hush" not in str(refused.value)


def test_a_key_that_was_changed_meanwhile_is_another(one_ray, keys, monkeypatch):
    with closing(shared(None, "s3://b/x")) as one:
        one.join()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY"):
            shared(None, "s3://b/x").join()


def test_nodes_of_a_cluster_have_keys_of_their_own(one_ray, keys):
    assert RayUse("a:1", "s3://b/x").keys == {}


# --- signals ----------------------------------------------------------------------------------------------------------


def test_a_signal_while_ray_starts_interrupts_and_ray_ends_once_it_is_up(one_ray, monkeypatch):
    up = threading.Event()
    for limit in ("tuner.cluster.shared_ray.END_SECONDS", "tuner.cluster.signals.OVERDUE_SECONDS"):
        monkeypatch.setattr(limit, 60.0)
    monkeypatch.setattr(shared_ray, "start_ray", lambda *given: up.wait(60) and one_ray.init(HERE))

    def run():
        with stop_signals() as heard, heard.ending("it"), closing(SharedRay(spec(None), heard)) as own:
            own.join()
            threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
            with own.started(1):
                pytest.fail("it was not started")

    began = time.monotonic()
    with pytest.raises(StoppedError):
        run()
    assert time.monotonic() - began < 30
    up.set()
    capacity_of(None)  # which waits its turn
    assert one_ray.at is None
    assert not ray_users.in_use()
