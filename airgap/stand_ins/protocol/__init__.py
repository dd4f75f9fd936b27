"""The parts of Pulumi's provider protocol that the stand-ins share."""
