"""What a machine of a cloud does at its first start, as cloud-init's user data."""

from __future__ import annotations

from typing import Any

import yaml

DATA_DISK = "/dev/disk/azure/scsi1/lun0"
"""The link that Azure's images have to the data disk with the logical unit number 0."""
DATA_FOLDER = "/var/openebs/local"
"""OpenEBS's base path: every volume of a pod is a folder in it."""
API_PORT = 6443


def node(host_key: str) -> str:
    """User data of a cluster's machine: its private SSH key; its data disk, formatted if empty, at `DATA_FOLDER`."""
    return _document(
        host_key,
        fs_setup=[
            {"device": DATA_DISK, "partition": "none", "filesystem": "ext4", "label": "openebs", "overwrite": False}
        ],
        mounts=[[DATA_DISK, DATA_FOLDER, "ext4", "defaults,nofail,x-systemd.device-timeout=60", "0", "2"]],
        write_files=[
            # A node without its disk would write the volumes to the system's disk, where nobody looks for them.
            _file("kubelet.service.d/05-data-disk.conf", f"[Unit]\nRequiresMountsFor={DATA_FOLDER}\n")
        ],
    )


def bastion(host_key: str, control_plane: str) -> str:
    """User data of the machine in front of the others: its private SSH key, and the way on to the API server."""
    return _document(
        host_key,
        write_files=[
            _file("kubernetes-api.socket", f"[Socket]\nListenStream={API_PORT}\n[Install]\nWantedBy=sockets.target\n"),
            _file(
                "kubernetes-api.service",
                f"[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd {control_plane}:{API_PORT}\n"
                "DynamicUser=true\nPrivateTmp=true\n",
            ),
        ],
        runcmd=[["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "kubernetes-api.socket"]],
    )


def _file(unit: str, content: str) -> dict[str, str]:
    return {"path": f"/etc/systemd/system/{unit}", "content": content}


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
