"""The Customer.io destination: people of a workspace, or those of a manual segment."""
