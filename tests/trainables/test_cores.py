"""A process fills what it was allotted, and not the machine."""

import os
import subprocess
import sys

import pytest

from trainables.cores import Cores, allotted_cores


@pytest.fixture(autouse=True)
def large_machine(monkeypatch):
    """Of 64 cores, none of which is out of reach."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


@pytest.fixture
def machine(tmp_path):
    """machine(lines of /proc/self/cgroup, files below /sys/fs/cgroup) → its root."""

    def build(cgroup, **files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
        for name, text in files.items():
            file = tmp_path / "sys/fs/cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return build


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "390000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 64),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "200000 100000\n"}, 2),
        ("0::/of/the/host\n", {"cpu.max": "400000 100000\n"}, 4),
        ("5:cpu,cpuacct:/x\n0::/\n", {"cpu/x/cpu.cfs_quota_us": "150000\n", "cpu/x/cpu.cfs_period_us": "50000\n"}, 3),
        ("5:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 64),
        ("5:cpuset:/x\n", {"cpuset/x/cpu.cfs_quota_us": "100000\n", "cpuset/x/cpu.cfs_period_us": "100000\n"}, 64),
        ("0::/\n", {"cpu.max": "nonsense"}, 64),
    ],
)
def test_the_quota_of_a_cgroup_counts_in_whole_cores(cgroup, files, cores, machine):
    found = allotted_cores({}, machine(cgroup, **files))
    assert found == Cores(cores, None if cores == 64 else "the quota of its cgroup")


@pytest.mark.parametrize(
    ("variables", "cores", "limit"),
    [
        ({"SLURM_CPUS_PER_TASK": "8"}, 8, "SLURM_CPUS_PER_TASK"),
        ({"SLURM_CPUS_ON_NODE": "4"}, 4, "SLURM_CPUS_ON_NODE"),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "2"}, 2, "SLURM_CPUS_PER_TASK"),
        ({"SLURM_JOB_CPUS_PER_NODE": "12(x3)"}, 12, "SLURM_JOB_CPUS_PER_NODE"),
        ({"SLURM_JOB_CPUS_PER_NODE": "12(x3),4"}, 64, None),
        ({"SLURM_CPUS_PER_TASK": "many"}, 64, None),
        ({"SLURM_CPUS_PER_TASK": "0"}, 64, None),
        ({"SLURM_CPUS_PER_TASK": "128"}, 64, None),
    ],
)
def test_slurms_variables_count(variables, cores, limit, tmp_path):
    assert allotted_cores(variables, tmp_path) == Cores(cores, limit)


def test_the_least_of_all_counts_and_is_named(machine, monkeypatch):
    root = machine("0::/\n", **{"cpu.max": "700000 100000"})
    assert allotted_cores({"SLURM_CPUS_PER_TASK": "9"}, root).n == 7
    assert allotted_cores({"SLURM_CPUS_PER_TASK": "6"}, root).n == 6
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8}, raising=False)
    found = allotted_cores({"SLURM_CPUS_PER_TASK": "6"}, root)
    assert found.says == "3 of 64 cores, by the affinity of this process"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bind no process")
def test_the_cores_a_process_is_bound_to_are_the_kernels():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from trainables.cores import allotted_cores\n"
        "print(allotted_cores({}).n)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
