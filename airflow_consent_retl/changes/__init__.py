"""Changes: the comparison of permitted rows with the delivered state, and the next version of that state."""
