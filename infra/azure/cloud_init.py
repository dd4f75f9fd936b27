"""What a machine of a cloud does at its first start, as cloud-init's user data."""

from __future__ import annotations

from typing import Any

import yaml

from infra.kubeadm.scripts import text

DATA_DISK = "/dev/disk/azure/scsi1/lun0"
"""The link that Azure's images have to the data disk with the logical unit number 0."""
DATA_FOLDER = "/var/openebs/local"
"""OpenEBS's base path: every volume of a pod is a folder in it."""
DATA_MOUNT = "var-openebs-local.mount"
"""The unit's name is the folder's, as systemd wants it."""
FORMAT = "/usr/local/sbin/format-data-disk"
API_PORT = 6443


def node(host_key: str) -> str:
    """User data of a cluster's machine: its private SSH key; its data disk, formatted if empty, at `DATA_FOLDER`."""
    return _document(
        host_key,
        write_files=[
            {"path": FORMAT, "content": text("format-data-disk.sh"), "permissions": "0755"},
            _unit(
                DATA_MOUNT,
                f"[Mount]\nWhat={DATA_DISK}\nWhere={DATA_FOLDER}\nType=ext4\n[Install]\nWantedBy=multi-user.target\n",
            ),
            # A node without its disk would write the volumes to the system's disk, where nobody looks for them.
            _unit("kubelet.service.d/05-data-disk.conf", f"[Unit]\nRequiresMountsFor={DATA_FOLDER}\n"),
        ],
        # Not cloud-init's own fs_setup, which formats a disk without partitions whatever is on it.
        runcmd=[[FORMAT, DATA_DISK], ["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", DATA_MOUNT]],
    )


def bastion(host_key: str, control_plane: str) -> str:
    """User data of the machine in front of the others: its private SSH key, and the way on to the API server."""
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


def _document(host_key: str, **more: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    public = serialization.load_ssh_private_key(host_key.encode(), password=None).public_key()
    encoded = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    own = {
        # Given, and not made by the machine: whoever connects for the first time knows whom to expect.
        "ssh_keys": {"ed25519_private": host_key, "ed25519_public": encoded},
        "ssh_pwauth": False,
    }
    return "#cloud-config\n" + yaml.safe_dump(own | more, sort_keys=False)
