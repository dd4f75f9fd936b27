"""Replicated stores: PostgreSQL and an S3 store with copies on three machines."""
