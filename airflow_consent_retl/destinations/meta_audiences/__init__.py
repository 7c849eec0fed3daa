"""Customer list audiences of Meta."""
