"""The nouns of the OCI specifications: frozen values, no I/O."""
