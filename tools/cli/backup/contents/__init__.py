"""The data that backups contain: a module for each place they are in."""
