"""Moving verified bytes: protocols, events, cancellation, verification, graph copy."""
