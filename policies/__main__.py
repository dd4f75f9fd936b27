"""The policy pack, served to the engine: `pulumi preview --policy-pack policies`."""

import sys
from pathlib import Path

# A script finds its own folder first; the checkout is what its imports start from.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pulumi_policy import EnforcementLevel, PolicyPack  # noqa: E402

from policies import azure, claims, pods  # noqa: E402

PolicyPack("mlplatform", [*azure.POLICIES, *pods.POLICIES, *claims.POLICIES], EnforcementLevel.MANDATORY)
