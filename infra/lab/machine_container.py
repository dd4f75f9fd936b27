"""A whole Linux machine as a container of this computer: systemd as its first process, an address of its own.

runc starts it from an overlay over a root file system that all machines share. The overlay is mounted in a mount
namespace that ends with the machine, so that nothing of it shows among this computer's own mounts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.dynamic_provider import UserError

STOP_SECONDS = 30
ON_DISK = ("containerd", "kubelet")
"""Folders of /var/lib that hold file systems of pods: an overlay cannot lie on an overlay, so they are on real disk."""
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
"""By their number in linux/capability.h."""


@dataclass(frozen=True)
class MachineContainer:
    """One machine, by a name that is unique on this computer; its files lie in `folder`."""

    id: str
    folder: Path
    network_namespace: str

    def running(self) -> bool:
        return self._status() == "running"

    def start(self, root: Path, hostname: str) -> None:
        """Start it on the shared file system `root`, with what it wrote before.

        Raises:
            UserError: runc refused, with its message.
        """
        for name in ("upper", "work", "merged", *ON_DISK):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self._specification(hostname), indent=1))
        overlay = f"lowerdir={root},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        script = (
            f'mount -t overlay overlay -o "$1" "{self.folder / "merged"}" && exec runc run --detach --bundle "$2" "$3"'
        )
        log = self.folder / "console.log"
        with log.open("wb") as output:
            started = subprocess.run(
                [
                    *("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"),
                    *(overlay, str(self.folder), self.id),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if started.returncode:
            raise UserError(f"machine {hostname} did not start: {log.read_text(errors='replace').strip()[-600:]}")

    def stop(self) -> None:
        """End all that runs in it, as a power cut would; its files stay."""
        if self._status() is None:
            return
        _run("runc", "kill", "--all", self.id, "KILL", check=False)
        deadline = time.monotonic() + STOP_SECONDS
        while self._status() == "running" and time.monotonic() < deadline:
            time.sleep(0.1)
        _run("runc", "delete", "--force", self.id)

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _status(self) -> str | None:
        """created, running or stopped; None where runc knows no such container."""
        if shutil.which("runc") is None:
            return None
        state = subprocess.run(["runc", "state", self.id], capture_output=True, text=True)
        return None if state.returncode else str(json.loads(state.stdout)["status"])

    def _specification(self, hostname: str) -> dict[str, Any]:
        """What runc is told, in the format of the OCI runtime specification 1.0."""
        capabilities = _own_capabilities()
        binds = {str(self.folder / name): f"/var/lib/{name}" for name in ON_DISK} | {"/dev/kmsg": "/dev/kmsg"}
        if Path("/lib/modules").is_dir():
            binds["/lib/modules"] = "/lib/modules"
        return {
            "ociVersion": "1.0.2",
            "hostname": hostname,
            "root": {"path": str(self.folder / "merged")},
            "process": {
                "args": ["/lib/systemd/systemd"],
                "cwd": "/",
                # By this variable systemd knows that hardware is not its business.
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=runc"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            },
            "mounts": [
                _mount("proc", "/proc"),
                _mount("sysfs", "/sys"),
                _mount("cgroup", "/sys/fs/cgroup"),
                _mount("tmpfs", "/dev", "mode=755", "size=65536k"),
                _mount("devpts", "/dev/pts", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
                _mount("tmpfs", "/dev/shm", "mode=1777", "size=65536k"),
                _mount("mqueue", "/dev/mqueue"),
                _mount("tmpfs", "/run", "mode=755"),
                *(
                    {"destination": inside, "source": outside, "type": "none", "options": ["rbind", "rw"]}
                    for outside, inside in binds.items()
                ),
            ],
            "linux": {
                "namespaces": [
                    *({"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")),
                    {"type": "network", "path": f"/run/netns/{self.network_namespace}"},
                ],
                "cgroupsPath": f"/mlplatform.{self.id}",
                "resources": {"devices": [{"allow": True, "access": "rwm"}]},
                # Volumes that kubelet mounts have to show inside of pods.
                "rootfsPropagation": "rshared",
            },
        }


def _mount(kind: str, path: str, *options: str) -> dict[str, Any]:
    return {"destination": path, "type": kind, "source": kind, "options": [*options, "rw"]}


def _own_capabilities() -> list[str]:
    """Those of this process's bounding set: a machine can have no more than the computer that it is in."""
    status = Path("/proc/self/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if bounding >> number & 1]


def _run(*command: str, check: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        raise UserError(f"`{' '.join(command)}` failed: {(done.stderr + done.stdout).strip()}")
