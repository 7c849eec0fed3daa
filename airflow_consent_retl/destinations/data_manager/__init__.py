"""Google's Data Manager API: the parts that its destinations share. It is no destination itself."""
