"""Storage of snapshots, permitted sets, changes and delivered states: folders with manifests."""
