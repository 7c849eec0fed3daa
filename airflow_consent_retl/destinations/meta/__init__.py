"""The Graph API of Meta: the parts that its destinations share. It is no destination itself."""
