"""Triggers: asynchronous waiting that occupies no worker."""
