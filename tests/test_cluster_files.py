"""cluster.yaml and examples/: valid to Ray, bash and KubeRay, at the pinned versions, closed to the outside."""

import copy
import json
import os
import re
import shlex
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml
from events import new_event
from ray.autoscaler._private.util import prepare_config, validate_config

from tuner.sweeps.journal import Journal
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
RAY_FILES = ("cluster.yaml", "examples/cluster-local.yaml")
KUBERAY = "examples/kuberay-rayjob.yaml"
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in (*RAY_FILES, KUBERAY, "examples/Dockerfile")}
CLUSTERS = {name: yaml.safe_load(TEXTS[name]) for name in RAY_FILES}
MANIFESTS = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(TEXTS[KUBERAY])}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().split())


def alternative(text):
    """A cluster file with the commands that it offers commented out."""
    return re.sub(r"^  # (- \||  )", r"  \1", text, flags=re.MULTILINE)


def commands(cluster):
    """What Ray runs on the nodes, in order."""
    return list(chain.from_iterable(cluster[key] for key in cluster if key.endswith("_commands")))


def told(text):
    """What the user is told to type: comment lines after `# $`, with the lines that go on with them."""
    found = re.findall(r"^ *# \$ (.*(?:\n *#   +.*)*)", text, re.MULTILINE)
    return [re.sub(r"^ *# ", "", each, flags=re.MULTILINE) for each in found]


def values(tree):
    """All mappings in a tree."""
    below = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [*([tree] if isinstance(tree, dict) else ()), *chain.from_iterable(map(values, below))]


# --- valid ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAY_FILES)
@pytest.mark.parametrize("variant", [str, alternative])
def test_ray_takes_each_cluster_file(name, variant):
    cluster = yaml.safe_load(variant(TEXTS[name]))
    jsonschema.validate(cluster, json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text()))
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_aws_takes_each_machine():
    session = pytest.importorskip("botocore.session", reason="boto3 comes with the extra `aws`").Session()
    from botocore.validate import ParamValidator

    expected = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    for machine in CLUSTERS["cluster.yaml"]["available_node_types"].values():
        request = {**machine["node_config"], "MinCount": 1, "MaxCount": 1}
        assert not ParamValidator().validate(request, expected).has_errors()


SHELL = {
    **{f"{name} {i}": cmd for name in RAY_FILES for i, cmd in enumerate(commands(CLUSTERS[name]))},
    **{f"{n} offered {i}": c for n in RAY_FILES for i, c in enumerate(commands(yaml.safe_load(alternative(TEXTS[n]))))},
    **{f"{name} told {i}": command for name in TEXTS for i, command in enumerate(told(TEXTS[name]))},
    KUBERAY: MANIFESTS["RayJob", "fashion-geco"]["spec"]["entrypoint"],
}


@pytest.mark.parametrize("command", SHELL.values(), ids=SHELL)
def test_bash_parses_each_command(command):
    """In parentheses, as Ray sends them: a here-document must end with its command."""
    done = subprocess.run(["bash", "-n"], input=f"({command})", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_offered_commands_are_found():
    for name in RAY_FILES:
        assert len(commands(yaml.safe_load(alternative(TEXTS[name])))) == len(commands(CLUSTERS[name])) + 1
        assert told(TEXTS[name])


def test_the_ray_job_runs_the_example_sweep_and_goes_on_with_it():
    spec = parse_spec(read_yaml(ROOT / "examples/fashion-geco.yaml"))
    entrypoint = MANIFESTS["RayJob", spec.name]["spec"]["entrypoint"]
    assert f"vae-tuner sweep /etc/sweep/{spec.name}.yaml --storage" in entrypoint
    assert re.findall(r"--storage ([^\s;]+)", entrypoint) == [spec.storage] * 3
    assert f"--from-file=examples/{spec.name}.yaml" in TEXTS[KUBERAY]
    assert "mountPath: /etc/sweep}" in TEXTS[KUBERAY]


RESUME, SYNC = "resume fashion-geco --storage", "sync fashion-geco --storage"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (None, ["sweep /etc/sweep/fashion-geco.yaml --storage"]),
        ([], [RESUME]),
        ([("header", {})], [RESUME]),
        ([("finish", {"reason": "interrupted"})], [RESUME]),
        ([("finish", {"reason": "completed"}), ("resume", {"more": 4})], [RESUME]),
        ([("finish", {"reason": "completed"})], [SYNC, "best --sweep fashion-geco"]),
        ([("finish", {"reason": "budget"})], [SYNC, "best --sweep fashion-geco"]),
    ],
)
def test_the_ray_job_goes_on_where_the_one_before_was_lost(lines, expected, tmp_path):
    (command := tmp_path / "vae-tuner").write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    command.chmod(0o755)
    (folder := tmp_path / "sweeps" / "fashion-geco").mkdir(parents=True)
    if lines is not None:
        journal = Journal.create(folder / "journal.jsonl")
        for event, payload in lines:
            journal.append(new_event(event, **payload))
    entrypoint = MANIFESTS["RayJob", "fashion-geco"]["spec"]["entrypoint"].replace("/shared", str(tmp_path))
    sent = subprocess.list2cmdline(shlex.split(entrypoint))  # as `ray job submit` does
    subprocess.run(sent, shell=True, check=True, cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.defpath}"})
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [each.removesuffix(f" {tmp_path}/sweeps") for each in asked] == expected


# --- the same project everywhere --------------------------------------------------------------------------------------


def test_optional_packages_are_pinned_once():
    for requirement in chain.from_iterable(PROJECT["project"]["optional-dependencies"].values()):
        name, pinned, version = re.sub(r"\[.*?\]", "", requirement.lower()).partition("==")
        assert not pinned or PINS.get(name, version) == version


def test_versions_are_the_pinned_ones():
    job, version = MANIFESTS["RayJob", "fashion-geco"]["spec"], PROJECT["project"]["version"]
    assert job["rayClusterSpec"]["rayVersion"] == PINS["ray"]
    base, python = re.search(r"^FROM rayproject/ray:([\d.]+)-py3(\d+)", TEXTS["examples/Dockerfile"], re.M).groups()
    assert base == PINS["ray"]
    assert f">=3.{python}" >= PROJECT["project"]["requires-python"]
    images = {each["image"] for manifest in MANIFESTS.values() for each in values(manifest) if "image" in each}
    assert images == {f"vae-tuner:{version}"}
    assert f"--tag vae-tuner:{version} " in TEXTS["examples/Dockerfile"]


@pytest.mark.parametrize("name", RAY_FILES)
def test_nodes_get_what_the_wheel_is_built_of(name):
    needed = {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"]}
    needed |= set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert {f"~/vae-tuner/{each}": each for each in needed}.items() <= CLUSTERS[name]["file_mounts"].items()
    assert len(CLUSTERS[name]["file_mounts"]) == len(needed) + 1
    copied = set(re.findall(r"^COPY \S+ (.*) vae-tuner/", TEXTS["examples/Dockerfile"], re.MULTILINE))
    assert set(" ".join(copied).split()) == needed


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_installation_is_constrained(text):
    installed = re.findall(r"pip install .*(?:\n\s+\S.*)?vae-tuner", text)
    assert all("--constraint" in each for each in installed)
    assert installed or text is TEXTS[KUBERAY]


def test_own_machines_are_set_up_as_those_of_a_cloud():
    cloud, own = (commands(CLUSTERS[name]) for name in RAY_FILES)
    differing = [command for command in own if command not in cloud]
    assert [re.search(r"python3-venv|test -w /shared|\[server\]|--num-cpus=0", each)[0] for each in differing] == [
        "python3-venv",
        "test -w /shared",
        "[server]",
        "--num-cpus=0",
    ]


# --- closed to the outside --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAY_FILES)
def test_servers_listen_on_the_head_alone(name):
    text = "\n".join(commands(CLUSTERS[name]))
    hosts = re.findall(r"--(?:dashboard-)?host[ =](\S+)", text)
    assert hosts == ["127.0.0.1", "127.0.0.1"]
    assert len(re.findall(r"mlflow server|ray start --head", text)) == len(hosts)
    assert "export RAY_AUTH_MODE=token" in text
    assert CLUSTERS[name]["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_pods_are_reached_from_their_cluster_alone():
    assert {kind for kind, _ in MANIFESTS} == {"PersistentVolumeClaim", "ConfigMap", "Deployment", "Service", "RayJob"}
    for mapping in chain.from_iterable(map(values, MANIFESTS.values())):
        assert not mapping.keys() & {"hostNetwork", "hostPort", "nodePort", "externalIPs", "serviceType"}
    assert MANIFESTS["Service", "mlflow"]["spec"]["type"] == "ClusterIP"
    assert MANIFESTS["RayJob", "fashion-geco"]["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("name", [*RAY_FILES, KUBERAY])
def test_mlflow_asks_for_a_password_and_knows_its_names(name):
    server = re.search(r"mlflow\W+server\b.*?--artifacts-destination", TEXTS[name], re.DOTALL)[0]
    assert re.search(r"--app-name[ =]basic-auth\b", server)
    hosts = re.search(r"--allowed-hosts[ =](\S+)", server)[1].split(",")
    assert all(re.fullmatch(r"(localhost|127\.0\.0\.1|mlflow):(\*|5000)", host) for host in hosts)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_secrets_are_drawn_and_never_written_here(text):
    given = re.findall(r"(?i)\w*(?:password|secret|token|key)\w* ?= ?(\S+)", text)
    assert all(re.match(r'"?\$\(|//p', value) for value in given), given  # of a command, or a pattern
    assert not re.search(r"(?i)\b(?:[0-9a-f]{20,}|AKIA[0-9A-Z]{16})\b", text)


def test_pods_have_their_secrets_from_kubernetes():
    variables = [each for manifest in MANIFESTS.values() for tree in values(manifest) for each in tree.get("env", ())]
    secret = [each for each in variables if re.search("PASSWORD|SECRET|TOKEN|USERNAME", each["name"])]
    assert len(secret) == 4
    assert all(each["valueFrom"]["secretKeyRef"]["name"] == "mlflow" for each in secret)
    created = set(re.findall(r"--from-literal=([\w-]+)=", TEXTS[KUBERAY]))
    assert {each["valueFrom"]["secretKeyRef"]["key"] for each in secret} == created


# --- KubeRay 1.6 ------------------------------------------------------------------------------------------------------

FIELDS = {
    "spec": "activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint entrypointNumCpus "
    "entrypointNumGpus entrypointResources jobId managedBy metadata preRunningDeadlineSeconds rayClusterSpec "
    "runtimeEnvYAML shutdownAfterJobFinishes submissionMode submitterConfig submitterPodTemplate suspend "
    "ttlSecondsAfterFinished",
    "rayClusterSpec": "authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec "
    "headServiceAnnotations managedBy rayVersion suspend upgradeStrategy workerGroupSpecs",
    "autoscalerOptions": "env envFrom idleTimeoutSeconds image imagePullPolicy resources securityContext upscalingMode "
    "version volumeMounts",
    "workerGroupSpecs": "groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts rayStartParams "
    "replicas resources scaleStrategy suspend template",
}


def test_the_ray_job_has_the_fields_that_kuberay_knows():
    job = MANIFESTS["RayJob", "fashion-geco"]
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert job["apiVersion"] == "ray.io/v1"
    assert job["spec"].keys() <= set(FIELDS["spec"].split())
    assert cluster.keys() <= set(FIELDS["rayClusterSpec"].split())
    assert cluster["autoscalerOptions"].keys() <= set(FIELDS["autoscalerOptions"].split())
    assert workers.keys() <= set(FIELDS["workerGroupSpecs"].split())
    assert all(isinstance(value, str) for each in values(job) for value in each.get("rayStartParams", {}).values())


def test_volumes_of_the_pods_are_claimed_and_mounted():
    claims = {name for kind, name in MANIFESTS if kind == "PersistentVolumeClaim"}
    claimed = {each["claimName"] for manifest in MANIFESTS.values() for each in values(manifest) if "claimName" in each}
    assert claims == claimed
    pods = [each for manifest in MANIFESTS.values() for each in values(manifest) if "containers" in each]
    assert len(pods) == 3
    for pod in pods:
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
