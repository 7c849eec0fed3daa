"""What waits for a destination without holding a worker."""
