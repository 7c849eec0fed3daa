"""Changes: permitted rows against what was delivered, and the next version of the delivered state."""
