"""A Kubernetes cluster made of machines by kubeadm: the order of the steps, each of them a file of `infra/kubeadm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_command import local, remote

from infra.cluster import Cluster, provider, wait_for_api_server
from infra.kubeadm.packages import package_source, packages
from infra.kubeadm.preflight import preflight
from infra.kubeadm.remote_script import remote_script
from infra.local.local_process import PYTHON
from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings
from settings.paths import PROJECT


class KubeadmCluster(pulumi.ComponentResource):
    """A cluster of one control plane and workers, whose nodes wait for a network.

    What goes into it before the nodes are Ready, as the network itself, is put into `before_ready()`; all else into
    `cluster(network)`. A worker that leaves `machines` is drained and reset; so is every machine when this is deleted.

    Args:
        machines: one has the role control-plane; each is reached over SSH, with a user who may use sudo without a
            password. Alone, it also runs pods.
        settings: version, subnets, where packages come from.
        registry: where nodes find images; without one they ask upstream.
        endpoint: host name or address by which this computer reaches the API server; the control plane's where unset.

    Attributes:
        kubeconfig: of an administrator, secret.
        endpoint: of the API server, as this computer reaches it.
        provider: for what goes into the cluster; `Cluster`s of `cluster()` have it too.
        certificates_expire: RFC 3339, when the first of the control plane's certificates does.

    Raises:
        ValueError: not one of the machines is the control plane, or packages are to come from a registry that is none.
        UserError (as a failed resource): machines that are not fit for nodes, before anything on them was changed, with
            all that is in the way.
    """

    kubeconfig: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    certificates_expire: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        machines: Sequence[Machine],
        settings: KubernetesSettings,
        registry: ContainerRegistry | None = None,
        endpoint: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        planes = [machine.name for machine in machines if machine.role == "control-plane"]
        if len(planes) != 1:
            raise ValueError(f"one machine has to be the control plane, found {len(planes)}: {', '.join(planes)}")
        if settings.packages == "bundle" and registry is None:
            raise ValueError("packages: bundle takes them from a registry, and there is none")
        super().__init__("mlplatform:infra:Kubeadm", name, None, opts)
        self._name, self._settings = name, settings
        self._source = package_source(settings, registry)
        self._plane = next(machine for machine in machines if machine.role == "control-plane")
        self._workers = [machine for machine in machines if machine.role == "worker"]
        self._reached_at = endpoint or self._plane.public_address
        self.endpoint = pulumi.Output.concat("https://", self._reached_at, ":6443")

        checks = [preflight(each, [o for o in machines if o is not each], self._options()) for each in machines]
        resets = {each.name: self._reset(each, checks) for each in machines}
        made = {
            each.name: packages(each, settings, registry, self._options(*checks, resets[each.name]))
            for each in machines
        }
        self._init = self._control_plane(made[self._plane.name])
        self._upgraded = self._upgrade()
        self.kubeconfig = self._read_kubeconfig()
        self.certificates_expire = self._certificates_expire()
        self.provider = provider(name, wait_for_api_server(self.kubeconfig), self._plane.resource or self._init, self)
        self._joins = [self._join(worker, made[worker.name]) for worker in self._workers]
        self.register_outputs({"endpoint": self.endpoint})

    def before_ready(self) -> Cluster:
        """The cluster as its network takes it: the API server answers, no node is Ready yet."""
        return self._as_cluster([self._upgraded])

    def cluster(self, network: Sequence[pulumi.Resource]) -> Cluster:
        """The cluster with `network` in it and every node Ready.

        Here workers are brought to another version, too, one after the other; the control plane has it by then.
        """
        first: list[pulumi.Resource] = [*network, *self._joins]
        last = self._ready(self._plane, first)
        for worker in self._workers:
            last = self._ready(worker, [*first, last])
        return self._as_cluster([last])

    def _as_cluster(self, depends_on: Sequence[pulumi.Resource]) -> Cluster:
        return Cluster(
            name=self._name,
            kubeconfig=self.kubeconfig,
            provider=self.provider,
            endpoint=self.endpoint,
            nodes=self._nodes(),
            depends_on=depends_on,
            resource=self._plane.resource or self._init,
        )

    def _nodes(self) -> pulumi.Output[list[dict[str, Any]]]:
        machines = (self._plane, *self._workers)
        listed = [
            pulumi.Output.all(
                name=machine.name,
                role=machine.role,
                address=machine.private_address,
                external_address=machine.public_address,
                version=f"v{self._settings.version}",
            )
            for machine in machines
        ]
        return pulumi.Output.all(*listed)

    def _control_plane(self, made: pulumi.Resource) -> remote.Command:
        names = [self._plane.public_address, self._reached_at, *self._settings.names]
        return remote_script(
            f"{self._plane.name}-init",
            self._plane,
            "control-plane.sh",
            {
                "NODE": self._plane.name,
                "ADDRESS": self._plane.private_address,
                # Of the first init; a later version comes by an upgrade, see `infra.kubeadm.node_commands.upgrade`.
                "VERSION": self._settings.version,
                "POD_SUBNET": str(self._settings.pod_subnet),
                "SERVICE_SUBNET": str(self._settings.service_subnet),
                "CLUSTER": self._name,
                "NAMES": pulumi.Output.all(*names).apply(lambda known: " ".join(dict.fromkeys(known))),
                "TAINTED": "true" if self._workers else "false",
            },
            opts=self._options(made),
        )

    def _upgrade(self) -> local.Command:
        """The control plane has its version before anything else asks for it: workers join none that is older."""
        return self._node_command(
            f"{self._plane.name}-upgrade",
            self._order_to_upgrade(self._plane),
            create="upgrade",
            opts=self._options(self._init, deleted_with=self._plane.resource or self._init),
        )

    def _read_kubeconfig(self) -> pulumi.Output[str]:
        read = remote.Command(
            "kubeconfig",
            connection=self._plane.connection,
            create="sudo --non-interactive cat /etc/kubernetes/admin.conf",
            # A control plane that was made anew has other certificates, and one that was upgraded has newer ones.
            triggers=[self._init.stdout, self._settings.version],
            logging=remote.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                self._options(self._upgraded),
                pulumi.ResourceOptions(
                    additional_secret_outputs=["stdout"], deleted_with=self._plane.resource or self._init
                ),
            ),
        )
        inside = pulumi.Output.concat("https://", self._plane.private_address, ":6443")
        return pulumi.Output.all(text=read.stdout, inside=inside, outside=self.endpoint).apply(
            lambda values: values["text"].replace(values["inside"], values["outside"])
        )

    def _certificates_expire(self) -> pulumi.Output[str]:
        read = remote.Command(
            "certificates-expire",
            connection=self._plane.connection,
            create=(
                "sudo --non-interactive sh -c 'for file in /etc/kubernetes/pki/apiserver*.crt; do "
                'date --utc --iso-8601=seconds --date="$(openssl x509 -enddate -noout -in "$file" | cut -d= -f2)"; '
                "done' | sort | head -1"
            ),
            triggers=[self._init.stdout, self._settings.version],
            add_previous_output_in_env=False,
            opts=self._options(self._upgraded, deleted_with=self._plane.resource or self._init),
        )
        return read.stdout

    def _join(self, worker: Machine, made: pulumi.Resource) -> local.Command:
        return self._node_command(
            f"{worker.name}-join",
            {"node": worker.properties, "control_plane": self._plane.properties},
            create="join",
            delete="leave",
            # Where the control plane goes too, there is no cluster to leave.
            opts=self._options(self._upgraded, made, deleted_with=self._plane.resource or self._init),
        )

    def _ready(self, machine: Machine, after: Sequence[pulumi.Resource]) -> local.Command:
        return self._node_command(
            f"{machine.name}-ready",
            self._order_to_upgrade(machine),
            create="ready",
            opts=self._options(*after, deleted_with=machine.resource or self._init),
        )

    def _order_to_upgrade(self, machine: Machine) -> dict[str, Any]:
        return {
            "node": machine.properties,
            "control_plane": self._plane.properties,
            "version": self._settings.version,
            "from": self._source.origin,
            "credentials": self._source.credentials,
        }

    def _reset(self, machine: Machine, checks: Sequence[pulumi.Resource]) -> local.Command:
        """What is done when the machine leaves this stack; made first, so that it is done last."""
        return self._node_command(
            f"{machine.name}-reset",
            {"node": machine.properties},
            delete="reset",
            opts=self._options(*checks, deleted_with=machine.resource),
        )

    def _node_command(
        self,
        name: str,
        order: dict[str, Any],
        *,
        create: str | None = None,
        delete: str | None = None,
        opts: pulumi.ResourceOptions,
    ) -> local.Command:
        order_as_json: pulumi.Output[str] = pulumi.Output.json_dumps(order)
        return local.Command(
            name,
            create=f"{PYTHON} -m infra.kubeadm.node_commands {create}" if create else "true",
            delete=f"{PYTHON} -m infra.kubeadm.node_commands {delete}" if delete else None,
            dir=str(PROJECT),
            stdin=order_as_json,
            opts=opts,
        )

    def _options(
        self, *depends_on: pulumi.Resource, deleted_with: pulumi.Resource | None = None
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on), deleted_with=deleted_with)
