"""The kit of HTTP destinations: client, address guard, authentication, retries, pace and answers."""
