"""Previews of a stack, for a person and for a pull request."""
