"""The Iterable destination: users, and the lists that they are on."""
