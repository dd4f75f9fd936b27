"""Conformance tests that do not run here, as regular expressions of their names, each with the reason."""

OTHER_SOURCE = "needs an image whose source is no part of the module: "
SKIPPED = {
    "Aggregator Should be able to support the .* Sample API Server": f"{OTHER_SOURCE}sample-apiserver",
    "AllowPrivilegeEscalation should not allow privilege escalation when false": f"{OTHER_SOURCE}nonewprivs",
    "Update Demo": f"{OTHER_SOURCE}nautilus",
}
