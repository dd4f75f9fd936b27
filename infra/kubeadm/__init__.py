"""A Kubernetes cluster that kubeadm installs on machines.

`KubeadmCluster` lists the steps in their order. Each step is one module:

1. `preflight` checks every machine, before any machine is changed.
2. `owner` writes into each machine which cluster it belongs to.
3. `reset` is registered, which removes the cluster from a machine on deletion.
4. `packages` installs containerd, runc and Kubernetes' binaries on every machine.
5. `virtual_address` lets keepalived move the API server's address among the control planes, if there is one.
6. `init` creates the first control plane.
7. `upgrade` brings the control plane to the wanted version.
8. `reconcile` applies the configuration of this program to the control plane, which then approves certificates.
9. `join` adds each other control plane, followed by 7 and 8: one after the other, as members of etcd have to.
10. `join` adds each worker.
11. The caller installs the pod network.
12. `ready` waits for each node in turn, and upgrades workers. `reconcile` follows on each worker.

Steps that change machines are resources of pulumi-command, see `step`. All of them are safe to run twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import pulumi

from infra.cluster import Cluster, Node, provider, wait_for_api_server
from infra.kubeadm.init import admin_kubeconfig, certificate_expiry, find_cluster, init_control_plane
from infra.kubeadm.join import join_control_plane, join_worker
from infra.kubeadm.owner import MachineOwner, claim_machine
from infra.kubeadm.packages import install_node_packages
from infra.kubeadm.plan import ClusterPlan, package_source, proxy_environment
from infra.kubeadm.preflight import run_preflight
from infra.kubeadm.ready import ready_node
from infra.kubeadm.reconcile import reconcile_node
from infra.kubeadm.reset import reset_machine
from infra.kubeadm.upgrade import upgrade_control_plane
from infra.kubeadm.virtual_address import hold_address
from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings, ProxySettings
from settings.machines.control_planes import check_control_planes


class KubeadmCluster(pulumi.ComponentResource):
    """A cluster of control planes and workers, whose nodes become Ready once a pod network is installed.

    Install the pod network into `bootstrap_view()`, and everything else into `ready_cluster(network)`. A worker that
    leaves `machines` is drained and reset. Deleting the component resets all machines.

    Args:
        machines: the nodes; one, three or five have the role control-plane. Without workers, they also run pods.
        settings: version, subnets and package source.
        registry: mirror of all images; None pulls from upstream.
        endpoint: host name or address at which this computer reaches the API server; default is `virtual_address`, or
            the control plane's. Without `virtual_address`, several control planes need it for their nodes, too.
        virtual_address: unused address in the network of the control planes, for keepalived to move among them. That of
            the settings comes first.
        network: the pod network that the caller installs; the preflight checks its ports between the machines.
        proxy: HTTP proxy of the site for downloads of the machines.

    Attributes:
        kubeconfig: the administrator's, secret.
        endpoint: URL of the API server for this computer.
        provider: the Kubernetes provider of the cluster.
        certificates_expire: time (RFC 3339) at which the first certificate of the control plane expires.

    Raises:
        ValueError: the number of control planes is not supported, they have no common address, or packages come from a
            registry that is missing.
        UserError (as a failed resource): a machine does not pass the preflight; with all findings.
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
        virtual_address: str | None = None,
        network: Literal["weave", "flannel"] = "weave",
        proxy: ProxySettings | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        control_planes = [machine for machine in machines if machine.role == "control-plane"]
        check_control_planes([machine.name for machine in control_planes])
        several = len(control_planes) > 1
        if settings.virtual_address:
            virtual_address = str(settings.virtual_address)
        node_api_host = virtual_address or (endpoint if several else None)
        if several and node_api_host is None:
            raise ValueError("several control planes need one address: set virtual_address or endpoint")
        if settings.packages == "bundle" and registry is None:
            raise ValueError("packages: bundle takes them from a registry, and no registry is set")
        super().__init__("mlplatform:infra:Kubeadm", name, None, opts)
        stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
        owner = MachineOwner(f"{name}-owner", stack=stack, opts=pulumi.ResourceOptions(parent=self))
        self._plan = plan = ClusterPlan(
            name=name,
            control_planes=control_planes,
            workers=[machine for machine in machines if machine.role == "worker"],
            settings=settings,
            registry=registry,
            packages=package_source(settings, registry),
            api_host=endpoint or virtual_address or control_planes[0].public_address,
            node_api_host=node_api_host,
            virtual_address=virtual_address,
            owner=owner.value,
            network=network,
            proxy=proxy_environment(proxy, settings, machines, registry, [node_api_host] if node_api_host else []),
            component=self,
        )
        self.endpoint = pulumi.Output.concat("https://", plan.api_host, ":6443")

        checks = [run_preflight(machine, plan) for machine in plan.machines]
        owners = {machine.name: claim_machine(machine, plan, checks) for machine in plan.machines}
        resets = {machine.name: reset_machine(machine, plan, [owners[machine.name]]) for machine in plan.machines}
        packages: dict[str, pulumi.Resource] = {
            machine.name: install_node_packages(machine, plan, [resets[machine.name]]) for machine in plan.machines
        }
        before_init: list[pulumi.Resource] = [packages[plan.control_plane.name]]
        if several:
            # The first control plane can leave, and the cluster goes on.
            before_init.append(find_cluster(plan, [*before_init, *owners.values()]))
        if virtual_address:
            for machine in control_planes:
                packages[machine.name] = hold_address(machine, plan, [packages[machine.name]], owner)
            before_init.append(packages[plan.control_plane.name])
        self._init = init_control_plane(plan, before_init)
        self._resource = owner if several else plan.control_plane.resource or self._init
        """The resource whose deletion ends the cluster."""
        self._joins: list[pulumi.Resource] = []
        last: pulumi.Resource = self._init
        for machine in control_planes:
            before_join = [last, packages[machine.name]]
            joined = join_control_plane(machine, plan, before_join, self._resource)
            self._joins.append(joined)
            upgrade = upgrade_control_plane(machine, plan, self._options([joined]))
            last = reconcile_node(machine, plan, self._options([upgrade]))
        self._reconcile = last
        self.kubeconfig = admin_kubeconfig(plan, self._init, self._options([self._reconcile]))
        self.certificates_expire = certificate_expiry(plan, self._init, self._options([self._reconcile]))
        self.provider = provider(name, wait_for_api_server(self.kubeconfig), self._resource, self, upsert=True)
        self._joins += [
            join_worker(worker, plan, [self._reconcile, packages[worker.name]], self._resource)
            for worker in plan.workers
        ]
        self.register_outputs({"endpoint": self.endpoint})

    def bootstrap_view(self) -> Cluster:
        """Return the cluster for its pod network: the API server responds, and no node is Ready yet."""
        return self._cluster([self._reconcile])

    def ready_cluster(self, network: Sequence[pulumi.Resource]) -> Cluster:
        """Return the cluster for everything else: `network` is installed and all nodes are Ready.

        Workers are upgraded and configured here one after the other; the control planes were before.
        """
        ready: list[pulumi.Resource] = []
        for machine in self._plan.machines:
            depends_on = [*network, *self._joins, *ready[-1:]]
            deleted_with = machine.resource or self._init
            ready.append(ready_node(machine, self._plan, self._plan.options(depends_on, deleted_with)))
            if machine.role == "worker":
                options = self._plan.options(ready[-1:], deleted_with)
                ready.append(reconcile_node(machine, self._plan, options))
        return self._cluster(ready[-1:])

    def _options(self, depends_on: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
        """Return the options of a step that needs no undo when the cluster ends."""
        return self._plan.options(depends_on, deleted_with=self._resource)

    def _cluster(self, depends_on: Sequence[pulumi.Resource]) -> Cluster:
        return Cluster(
            name=self._plan.name,
            kubeconfig=self.kubeconfig,
            provider=self.provider,
            endpoint=self.endpoint,
            nodes=self._nodes(),
            depends_on=depends_on,
            resource=self._resource,
            verified_kubelets=True,
        )

    def _nodes(self) -> pulumi.Output[list[Node]]:
        nodes = [
            pulumi.Output.all(
                name=machine.name,
                role=machine.role,
                address=machine.private_address,
                external_address=machine.public_address,
                version=f"v{self._plan.settings.version}",
            )
            for machine in self._plan.machines
        ]
        return cast("pulumi.Output[list[Node]]", pulumi.Output.all(*nodes))
