"""Events for Google, through its Data Manager API."""
