"""A stand-in for Pulumi's Azure provider in previews, for machines that cannot download the official plugin.

It validates the inputs of every resource against the types of the Python SDK. Outputs that only Azure knows are
unknown. It refuses to create, change or delete resources.
"""
