"""Records of Salesforce as a destination, by Bulk API 2.0."""
