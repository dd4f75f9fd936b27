"""Faults of a lab: each begins and ends by means of this computer, without the help of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tests.harness import Stack
from tests.lab.cluster import Cluster
from tests.lab.stacks import connection, container_id, cut_power, kill, power_on
from tests.lab.test_hardship import on

from .fault_plan import Fault, Kind

CGROUPS = Path("/sys/fs/cgroup")
THROTTLE = "blkio.throttle.write_iops_device"
WRITES_PER_SECOND = 20
"""Writes of a slow disk: those of each pod and each service of the machine."""
SLOW_NETWORK = ("rate", "8mbit", "burst", "32kbit", "latency", "400ms")
"""Bandwidth of a machine with a queue of 400 ms. Further packets are lost."""
SMALL_DISK_BYTES = 12 * 2**30
FILLER = "filler"
CERTIFICATE = "/var/lib/kubelet/pki/kubelet-server-current.pem"


@contextmanager
def small_disk(stack: Stack, machine: str) -> Iterator[None]:
    """Give a machine that does not exist yet a disk of 12 GiB. Other machines share the disk of this computer."""
    image, folder = stack.scratch / "disk.img", stack.data / "lab" / machine
    with image.open("wb") as file:
        file.truncate(SMALL_DISK_BYTES)
    run("mkfs.ext4", "-q", "-m", "0", str(image))
    folder.mkdir(parents=True)
    run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield
    finally:
        run("umount", "--lazy", str(folder))
        shutil.rmtree(stack.data)
        image.unlink()


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def inject(stack: Stack, cluster: Cluster, fault: Fault) -> AbstractContextManager[None]:
    """Return a context manager: the fault begins with its block and ends with it."""
    if fault.kind == Kind.DNS_LOSS:
        return dns_loss(cluster)
    return MACHINE_FAULTS[fault.kind](stack, fault.machine)


@contextmanager
def crash(stack: Stack, machine: str) -> Iterator[None]:
    kill(stack, machine)
    try:
        yield
    finally:
        power_on(stack, machine)


@contextmanager
def power_cut(stack: Stack, machine: str) -> Iterator[None]:
    cut_power(stack, machine)
    try:
        yield
    finally:
        power_on(stack, machine)


@contextmanager
def pause(stack: Stack, machine: str) -> Iterator[None]:
    """Freeze all processes of a machine. Its kernel still accepts connections."""
    run("runc", "pause", container_id(stack, machine))
    try:
        yield
    finally:
        run("runc", "resume", container_id(stack, machine))


@contextmanager
def partition(stack: Stack, machine: str) -> Iterator[None]:
    """Take the link of a machine out of the bridge: its packets are lost, and its interface stays up."""
    bridge, address = connection(stack, machine)
    link = bridge.machine_link(address)
    run("ip", "link", "set", link, "nomaster")
    try:
        yield
    finally:
        run("ip", "link", "set", link, "master", bridge.link)


@contextmanager
def slow_network(stack: Stack, machine: str) -> Iterator[None]:
    """Limit both directions of the link of a machine."""
    bridge, address = connection(stack, machine)
    ends = (["tc"], bridge.machine_link(address)), (["tc", "-netns", bridge.namespace(machine)], "eth0")
    for tc, link in ends:
        run(*tc, "qdisc", "add", "dev", link, "root", "tbf", *SLOW_NETWORK)
    try:
        yield
    finally:
        for tc, link in ends:
            run(*tc, "qdisc", "delete", "dev", link, "root")


@contextmanager
def slow_disk(stack: Stack, machine: str) -> Iterator[None]:
    """Limit the writes of a machine. Limits of cgroup v1 do not apply to the groups below, so each group gets one."""
    number = (stack.data / "lab" / machine).stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    _throttle(stack, machine, f"{device} {WRITES_PER_SECOND}")
    try:
        yield
    finally:
        _throttle(stack, machine, f"{device} 0")


def _throttle(stack: Stack, machine: str, limit: str) -> None:
    root = CGROUPS / "blkio" / f"mlplatform.{container_id(stack, machine)}"
    for group in (root, *root.rglob("*")):
        with suppress(FileNotFoundError):  # a group of a pod that has just ended
            if group.is_dir():
                (group / THROTTLE).write_text(limit)


@contextmanager
def full_disk(stack: Stack, machine: str) -> Iterator[None]:
    """Fill the disk of a machine to the last block."""
    folder = stack.data / "lab" / machine
    filler = folder / FILLER
    with filler.open("wb") as file:
        for size in (2**24, 2**16, 2**12):
            with suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def lost_certificate(stack: Stack, machine: str) -> Iterator[None]:
    """Delete the serving certificate of a kubelet, as if it had expired: the kubelet requests another one."""
    on(stack, machine, f"sudo rm {CERTIFICATE} && sudo systemctl restart kubelet")
    yield


@contextmanager
def dns_loss(cluster: Cluster) -> Iterator[None]:
    """Delete the pods of CoreDNS again and again."""
    ended = threading.Event()
    pods = ("delete", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "--force", "--grace-period=0")

    def repeat() -> None:
        while not ended.wait(0.5):
            cluster.kubectl(*pods, check=False)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


MACHINE_FAULTS: dict[Kind, Callable[[Stack, str], AbstractContextManager[None]]] = {
    Kind.CRASH: crash,
    Kind.POWER_CUT: power_cut,
    Kind.PAUSE: pause,
    Kind.PARTITION: partition,
    Kind.SLOW_NETWORK: slow_network,
    Kind.SLOW_DISK: slow_disk,
    Kind.FULL_DISK: full_disk,
    Kind.LOST_CERTIFICATE: lost_certificate,
}
