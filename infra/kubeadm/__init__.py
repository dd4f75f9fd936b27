"""A Kubernetes cluster that kubeadm installs on machines.

`KubeadmCluster` lists the steps in their order. Each step is one module:

1. `preflight` checks every machine, before any machine is changed.
2. `owner` writes into each machine which cluster it belongs to.
3. `reset` is registered, which removes the cluster from a machine on deletion.
4. `packages` installs containerd and Kubernetes' binaries on every machine.
5. `init` creates the control plane.
6. `upgrade` brings the control plane to the wanted version.
7. `reconcile` applies the configuration of this program to the control plane, which then approves certificates.
8. `join` adds each worker.
9. The caller installs the pod network.
10. `ready` waits for each node in turn, and upgrades workers. `reconcile` follows on each worker.

Steps that change machines are resources of pulumi-command, see `step`. All of them are safe to run twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import pulumi

from infra.cluster import Cluster, Node, provider, wait_for_api_server
from infra.kubeadm.init import admin_kubeconfig, certificate_expiry, init_control_plane
from infra.kubeadm.join import join_worker
from infra.kubeadm.owner import MachineOwner, claim_machine
from infra.kubeadm.packages import install_node_packages
from infra.kubeadm.plan import ClusterPlan, package_source, proxy_environment
from infra.kubeadm.preflight import run_preflight
from infra.kubeadm.ready import ready_node
from infra.kubeadm.reconcile import reconcile_node
from infra.kubeadm.reset import reset_machine
from infra.kubeadm.upgrade import upgrade_control_plane
from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings, ProxySettings


class KubeadmCluster(pulumi.ComponentResource):
    """A cluster of one control plane and workers, whose nodes become Ready once a pod network is installed.

    Install the pod network into `bootstrap_view()`, and everything else into `ready_cluster(network)`. A worker that
    leaves `machines` is drained and reset. Deleting the component resets all machines.

    Args:
        machines: the nodes; exactly one has the role control-plane. Without workers, it also runs pods.
        settings: version, subnets and package source.
        registry: mirror of all images; None pulls from upstream.
        endpoint: host name or address at which this computer reaches the API server; default is the control plane's.
        network: the pod network that the caller installs; the preflight checks its ports between the machines.
        proxy: HTTP proxy of the site for downloads of the machines.

    Attributes:
        kubeconfig: the administrator's, secret.
        endpoint: URL of the API server for this computer.
        provider: the Kubernetes provider of the cluster.
        certificates_expire: time (RFC 3339) at which the first certificate of the control plane expires.

    Raises:
        ValueError: the machines have no or several control planes, or packages come from a registry that is missing.
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
        network: Literal["weave", "flannel"] = "weave",
        proxy: ProxySettings | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        control_planes = [machine for machine in machines if machine.role == "control-plane"]
        if len(control_planes) != 1:
            names = ", ".join(machine.name for machine in control_planes)
            raise ValueError(f"one machine has to be the control plane, found {len(control_planes)}: {names}")
        if settings.packages == "bundle" and registry is None:
            raise ValueError("packages: bundle takes them from a registry, and no registry is set")
        super().__init__("mlplatform:infra:Kubeadm", name, None, opts)
        stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
        owner = MachineOwner(f"{name}-owner", stack=stack, opts=pulumi.ResourceOptions(parent=self))
        self._plan = plan = ClusterPlan(
            name=name,
            control_plane=control_planes[0],
            workers=[machine for machine in machines if machine.role == "worker"],
            settings=settings,
            registry=registry,
            packages=package_source(settings, registry),
            api_host=endpoint or control_planes[0].public_address,
            owner=owner.value,
            network=network,
            proxy=proxy_environment(proxy, settings, machines, registry),
            component=self,
        )
        self.endpoint = pulumi.Output.concat("https://", plan.api_host, ":6443")

        checks = [run_preflight(machine, plan) for machine in plan.machines]
        owners = {machine.name: claim_machine(machine, plan, checks) for machine in plan.machines}
        resets = {machine.name: reset_machine(machine, plan, [owners[machine.name]]) for machine in plan.machines}
        packages = {
            machine.name: install_node_packages(machine, plan, [resets[machine.name]]) for machine in plan.machines
        }
        self._init = init_control_plane(plan, packages[plan.control_plane.name])
        self._resource = plan.control_plane.resource or self._init
        """The resource whose deletion ends the cluster."""
        self._upgrade = upgrade_control_plane(plan, self._options([self._init]))
        self._reconcile = reconcile_node(plan.control_plane, plan, self._options([self._upgrade]))
        self.kubeconfig = admin_kubeconfig(plan, self._init, self._options([self._reconcile]))
        self.certificates_expire = certificate_expiry(plan, self._init, self._options([self._reconcile]))
        self.provider = provider(name, wait_for_api_server(self.kubeconfig), self._resource, self, upsert=True)
        self._joins = [
            join_worker(worker, plan, [self._reconcile, packages[worker.name]], self._resource)
            for worker in plan.workers
        ]
        self.register_outputs({"endpoint": self.endpoint})

    def bootstrap_view(self) -> Cluster:
        """Return the cluster for its pod network: the API server responds, and no node is Ready yet."""
        return self._cluster([self._reconcile])

    def ready_cluster(self, network: Sequence[pulumi.Resource]) -> Cluster:
        """Return the cluster for everything else: `network` is installed and all nodes are Ready.

        Workers are upgraded and configured here one after the other; the control plane was before.
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
