"""The mirror of ClamAV's signatures: one program fetches them, or takes them from a folder, and one serves them inside the cluster."""
