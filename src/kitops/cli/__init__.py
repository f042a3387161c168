"""What people type: the only place that prints, reads the environment, and knows click."""
