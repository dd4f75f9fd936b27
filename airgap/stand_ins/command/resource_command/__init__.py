"""A stand-in for Pulumi's command provider 1.2.1, for machines that cannot download the official plugin.

Its resource types, inputs, outputs and behaviour are the official ones. A program and its state can switch between
the two.
"""
