"""The policy pack: `pulumi preview --policy-pack policies`."""

import sys
from pathlib import Path

# Python puts the script's folder first on the path; imports start from the checkout.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pulumi_policy import EnforcementLevel, PolicyPack  # noqa: E402

from policies import azure, claims, pods  # noqa: E402

PolicyPack("mlplatform", [*azure.POLICIES, *pods.POLICIES, *claims.POLICIES], EnforcementLevel.MANDATORY)
