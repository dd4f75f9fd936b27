"""A Linux machine as a container of this computer, with systemd as its first process and its own address.

runc starts it from an overlay over a root file system that all machines share. The overlay is mounted in a mount
namespace that ends with the machine, so it does not appear among the mounts of this computer.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import UserError
from infra.retry import poll
from tools.bootstrap.process import CommandError, capture

STOP_SECONDS = 30
ON_DISK = ("containerd", "kubelet")
"""Folders of /var/lib with the file systems of pods. An overlay cannot be on an overlay, so they are on the disk."""
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
"""Names in the order of their numbers in linux/capability.h."""


@dataclass(frozen=True)
class MachineContainer:
    """A machine. `id` is unique on this computer; its files are in `folder`."""

    id: str
    folder: Path
    network_namespace: str

    def running(self) -> bool:
        """Return True if the machine is on."""
        return self._status() == "running"

    def start(self, root: Path, hostname: str) -> None:
        """Start the machine on the shared file system `root`, with the files that it wrote before.

        Raises:
            UserError: unshare, mount or runc failed, with its message.
        """
        for name in ("upper", "work", "merged", *ON_DISK):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self._specification(hostname), indent=1))
        overlay = f"lowerdir={root},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        log = self.folder / "console.log"
        # The machine keeps its output open -> the output goes to a file.
        script = 'exec >"$5" 2>&1; mount -t overlay overlay -o "$1" "$2" && exec runc run --detach --bundle "$3" "$4"'
        arguments = (overlay, self.folder / "merged", self.folder, self.id, log)
        try:
            capture(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *arguments])
        except CommandError:
            text = log.read_text(errors="replace").strip()[-600:] if log.exists() else "unshare failed"
            raise UserError(f"machine {hostname} did not start: {text}") from None

    def stop(self) -> None:
        """Kill all processes of the machine, like a power cut. Its files stay."""
        if self._status() is None:
            return
        with suppress(CommandError):
            capture(["runc", "kill", "--all", self.id, "KILL"])
        poll(lambda: None if self._status() == "running" else True, timeout=STOP_SECONDS, interval=0.1)
        capture(["runc", "delete", "--force", self.id])

    def remove(self) -> None:
        """Stop the machine and delete its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _status(self) -> str | None:
        """Return created, running or stopped; None if runc has no such container."""
        try:
            return str(json.loads(capture(["runc", "state", self.id]))["status"])
        except CommandError:
            return None

    def _specification(self, hostname: str) -> dict[str, Any]:
        """Return the configuration of runc, in the format of the OCI runtime specification 1.0."""
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
                # With this variable, systemd does not manage hardware.
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
                    {"destination": destination, "source": source, "type": "none", "options": ["rbind", "rw"]}
                    for source, destination in binds.items()
                ),
            ],
            "linux": {
                "namespaces": [
                    *({"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")),
                    {"type": "network", "path": f"/run/netns/{self.network_namespace}"},
                ],
                "cgroupsPath": f"/mlplatform.{self.id}",
                "resources": {"devices": [{"allow": True, "access": "rwm"}]},
                # Volumes that kubelet mounts must appear inside pods.
                "rootfsPropagation": "rshared",
            },
        }


def _mount(kind: str, path: str, *options: str) -> dict[str, Any]:
    return {"destination": path, "type": kind, "source": kind, "options": [*options, "rw"]}


def _own_capabilities() -> list[str]:
    """Return the capabilities of this process's bounding set, the most that a container on this computer can have."""
    status = Path("/proc/self/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if bounding >> number & 1]
