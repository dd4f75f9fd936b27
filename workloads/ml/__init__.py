"""Library of the components: data, training, export, evaluation, the model registry and experiment tracking.

Components import these modules inside their functions, so that a step loads only the libraries it uses.
"""
