"""Content on this machine."""
