"""What a ModelKit is: a Kitfile and layers, as a manifest (KitOps and ModelPack)."""
