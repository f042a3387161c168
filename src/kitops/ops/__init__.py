"""What people do, one verb a module."""
