"""A stand-in for Pulumi's command provider 1.2.1, for machines where the official plugin cannot be downloaded.

It has the official one's resource types, inputs, outputs and behaviour; a program and its state can move between
the two.
"""
