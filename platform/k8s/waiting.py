"""Annotations that say what the Kubernetes provider waits for when it creates or updates an object."""

from __future__ import annotations

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
"""The object counts as created as soon as the API server has it.

A DaemonSet needs this: the pod of a node that is down never becomes ready, so no operation may wait for it. So does a
Service, for which the provider waits ten seconds after the last change of its endpoints: its Deployment has waited.
"""
AWAIT_ADDRESS = {"pulumi.com/waitFor": "jsonpath={.status.loadBalancer.ingress}"}
"""The Service counts as created when its load balancer has an address."""
AWAIT_MEMBER = {"pulumi.com/waitFor": "jsonpath={.status.readyReplicas}"}
"""The StatefulSet counts as created when one pod is ready: `up` has to work while the machine of another is lost."""
