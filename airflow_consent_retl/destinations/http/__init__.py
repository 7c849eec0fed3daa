"""Shared parts of every HTTP destination: client and address guard."""
