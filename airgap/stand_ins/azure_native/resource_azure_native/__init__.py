"""A stand-in for Pulumi's Azure provider in previews, for machines where the official plugin cannot be downloaded.

It checks the inputs of every resource against the types of the Python SDK, knows nothing of outputs that only Azure
could tell, and refuses to create, change or delete anything.
"""
