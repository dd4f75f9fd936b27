"""A virtual machine of Azure with one network interface, and a disk for data."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import compute, managedidentity, network

from infra.azure.context import AzureContext
from infra.azure.virtual_network import VirtualNetwork
from infra.secrets import SshKey

SYSTEM_DISK = "Premium_LRS"
"""etcd waits for the disk at each write: what a standard disk takes costs elections."""
DATA_DISK = "StandardSSD_LRS"


@dataclass(frozen=True)
class VmDefaults:
    """What all machines of a place have in common."""

    place: AzureContext
    network: VirtualNetwork
    identity: managedidentity.UserAssignedIdentity
    authorized_key: pulumi.Input[str]
    """Who may log in as the settings' user."""


def virtual_machine(
    name: str,
    plan: VmDefaults,
    *,
    size: str,
    address: str,
    public: network.PublicIPAddress | None,
    host_key: SshKey,
    user_data: pulumi.Output[str],
    data_disk: compute.Disk | None = None,
) -> compute.VirtualMachine:
    """A machine named `name` at `address` in the network, and at `public` if that is given."""
    interface = network.NetworkInterface(
        f"{name}-interface",
        ip_configurations=[
            network.NetworkInterfaceIPConfigurationArgs(
                name="primary",
                subnet=network.SubnetArgs(id=plan.network.subnet),
                private_ip_allocation_method="Static",
                private_ip_address=address,
                public_ip_address=network.PublicIPAddressArgs(id=public.id) if public else None,
            )
        ],
        **plan.place.common,
    )
    own = pulumi.ResourceOptions(
        delete_before_replace=True,
        # Read at the first start alone, and Azure refuses another one later: a new release of this program must not
        # cost a machine. A new host key does, as nobody could connect to it any more.
        ignore_changes=["osProfile.customData"],
        replacement_trigger=host_key.public_key,
    )
    return compute.VirtualMachine(
        name,
        hardware_profile=compute.HardwareProfileArgs(vm_size=size),
        identity=compute.VirtualMachineIdentityArgs(
            type=compute.ResourceIdentityType.USER_ASSIGNED, user_assigned_identities=[plan.identity.id]
        ),
        network_profile=compute.NetworkProfileArgs(
            network_interfaces=[compute.NetworkInterfaceReferenceArgs(id=interface.id, primary=True)]
        ),
        os_profile=_login(name, plan, user_data),
        storage_profile=_disks(plan, data_disk),
        **plan.place.common | {"opts": pulumi.ResourceOptions.merge(plan.place.opts, own)},
    )


def empty_disk(name: str, place: AzureContext) -> compute.Disk:
    """A disk of its own, which a machine that is replaced leaves to the next one."""
    return compute.Disk(
        name,
        sku=compute.DiskSkuArgs(name=DATA_DISK),
        creation_data=compute.CreationDataArgs(create_option="Empty"),
        disk_size_gb=place.settings.data_disk_gb,
        network_access_policy="DenyAll",
        public_network_access="Disabled",
        **place.common,
    )


def _login(name: str, plan: VmDefaults, user_data: pulumi.Output[str]) -> compute.OSProfileArgs:
    user = plan.place.settings.user
    key = compute.SshPublicKeyArgs(key_data=plan.authorized_key, path=f"/home/{user}/.ssh/authorized_keys")
    return compute.OSProfileArgs(
        computer_name=name,
        admin_username=user,
        custom_data=user_data.apply(lambda text: base64.b64encode(text.encode()).decode()),
        linux_configuration=compute.LinuxConfigurationArgs(
            disable_password_authentication=True, ssh=compute.SshConfigurationArgs(public_keys=[key])
        ),
    )


def _disks(plan: VmDefaults, data_disk: compute.Disk | None) -> compute.StorageProfileArgs:
    publisher, offer, sku, version = plan.place.settings.image.split(":")
    attached = data_disk and compute.DataDiskArgs(
        create_option="Attach",
        lun=0,
        caching=compute.CachingTypes.NONE,
        delete_option="Detach",
        managed_disk=compute.ManagedDiskParametersArgs(id=data_disk.id),
    )
    return compute.StorageProfileArgs(
        image_reference=compute.ImageReferenceArgs(publisher=publisher, offer=offer, sku=sku, version=version),
        os_disk=compute.OSDiskArgs(
            create_option="FromImage",
            caching=compute.CachingTypes.READ_WRITE,
            delete_option="Delete",
            disk_size_gb=plan.place.settings.os_disk_gb,
            managed_disk=compute.ManagedDiskParametersArgs(storage_account_type=SYSTEM_DISK),
        ),
        data_disks=[attached] if attached else None,
    )
