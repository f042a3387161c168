"""Files to one layer and back."""
