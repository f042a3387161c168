"""What the author wrote: the Kitfile, its YAML and JSON, and its generation."""
