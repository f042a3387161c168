"""Content in an OCI registry."""
