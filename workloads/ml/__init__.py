"""What the components do: reading data, training, export, evaluation, registry and tracking.

Components import these modules inside their functions, so that a step pays only for the libraries it uses.
"""
