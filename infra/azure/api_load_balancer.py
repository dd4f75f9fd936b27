"""Load balancer of Azure in front of several control planes.

keepalived cannot move addresses in Azure. The load balancer is a public one, because its machines use it, too: an
internal one may return a connection to the machine that opened it, and Azure drops such connections.
"""

from __future__ import annotations

import pulumi
from pulumi_azure_native import network

from infra.azure.cloud_init import API_PORT
from infra.azure.context import AzureContext

NAME = "api"
"""Name in Azure. Parts of the load balancer refer to each other by ids that contain it."""
PROBE_SECONDS = 5
FAILED_PROBES = 2
"""Probes without an answer after which a control plane gets no new connections."""


def api_load_balancer(context: AzureContext, address: network.PublicIPAddress) -> pulumi.Output[str]:
    """Create the load balancer at a public address, and return the id of its pool of control planes.

    It sends connections to control planes whose API server is ready.
    """
    own_id = pulumi.Output.concat(context.group.id, "/providers/Microsoft.Network/loadBalancers/", NAME)
    front = pulumi.Output.concat(own_id, "/frontendIPConfigurations/", NAME)
    pool = pulumi.Output.concat(own_id, "/backendAddressPools/", NAME)
    probe = pulumi.Output.concat(own_id, "/probes/", NAME)
    balancer = network.LoadBalancer(
        "api-load-balancer",
        load_balancer_name=NAME,
        sku=network.LoadBalancerSkuArgs(name="Standard"),
        frontend_ip_configurations=[
            network.FrontendIPConfigurationArgs(name=NAME, public_ip_address=network.PublicIPAddressArgs(id=address.id))
        ],
        backend_address_pools=[network.BackendAddressPoolArgs(name=NAME)],
        probes=[
            network.ProbeArgs(
                name=NAME,
                protocol="Https",
                port=API_PORT,
                request_path="/readyz",
                interval_in_seconds=PROBE_SECONDS,
                probe_threshold=FAILED_PROBES,
            )
        ],
        load_balancing_rules=[
            network.LoadBalancingRuleArgs(
                name=NAME,
                protocol="Tcp",
                frontend_port=API_PORT,
                backend_port=API_PORT,
                frontend_ip_configuration=network.SubResourceArgs(id=front),
                backend_address_pool=network.SubResourceArgs(id=pool),
                probe=network.SubResourceArgs(id=probe),
                # Outgoing connections use the machines' own public addresses or the gateway.
                disable_outbound_snat=True,
                enable_tcp_reset=True,
            )
        ],
        **context.common,
    )
    # The id is known only once the pool exists.
    return pulumi.Output.all(pool, balancer.id).apply(lambda known: str(known[0]))
