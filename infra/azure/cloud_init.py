"""User data of cloud-init, which configures a machine at its first start."""

from __future__ import annotations

from typing import Any

import yaml

from infra.kubeadm.scripts import script_text

DATA_DISK = "/dev/disk/azure/scsi1/lun0"
"""Symbolic link of Azure's images to the data disk with the logical unit number 0."""
DATA_FOLDER = "/var/openebs/local"
"""Base path of OpenEBS: every volume of a pod is a folder in it."""
DATA_MOUNT = "var-openebs-local.mount"
"""systemd derives a mount unit's name from its folder."""
FORMAT = "/usr/local/sbin/format-data-disk"
API_PORT = 6443


def node_user_data(host_key: str) -> str:
    """Return the user data of a node: the private host key, and the data disk at `DATA_FOLDER`, formatted if empty."""
    return _document(
        host_key,
        write_files=[
            {"path": FORMAT, "content": script_text("format-data-disk.sh"), "permissions": "0755"},
            _unit(
                DATA_MOUNT,
                f"[Mount]\nWhat={DATA_DISK}\nWhere={DATA_FOLDER}\nType=ext4\n[Install]\nWantedBy=multi-user.target\n",
            ),
            # Without the data disk, a node would write volumes to the system disk, so kubelet requires the mount.
            _unit("kubelet.service.d/05-data-disk.conf", f"[Unit]\nRequiresMountsFor={DATA_FOLDER}\n"),
        ],
        # The fs_setup of cloud-init is not used: it formats a disk without partitions even if the disk has data.
        runcmd=[[FORMAT, DATA_DISK], ["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", DATA_MOUNT]],
    )


def bastion(host_key: str, control_plane: str | None) -> str:
    """Return the user data of the bastion: the private host key, and a proxy to the only API server, if it is given."""
    if control_plane is None:
        return _document(host_key)
    return _document(
        host_key,
        write_files=[
            _unit("kubernetes-api.socket", f"[Socket]\nListenStream={API_PORT}\n[Install]\nWantedBy=sockets.target\n"),
            _unit(
                "kubernetes-api.service",
                f"[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd {control_plane}:{API_PORT}\n"
                "DynamicUser=true\nPrivateTmp=true\n",
            ),
        ],
        runcmd=[["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "kubernetes-api.socket"]],
    )


def _unit(name: str, content: str) -> dict[str, str]:
    return {"path": f"/etc/systemd/system/{name}", "content": content}


def _document(host_key: str, **sections: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    public = serialization.load_ssh_private_key(host_key.encode(), password=None).public_key()
    encoded = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    ssh = {
        # The host key is generated here and not by the machine, so the first connection can verify it.
        "ssh_keys": {"ed25519_private": host_key, "ed25519_public": encoded},
        "ssh_pwauth": False,
    }
    return "#cloud-config\n" + yaml.safe_dump(ssh | sections, sort_keys=False)
