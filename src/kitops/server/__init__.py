"""A registry server."""
