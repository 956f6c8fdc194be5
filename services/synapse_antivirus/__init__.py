"""The Synapse module that has uploads and remote media scanned. It runs in Synapse's processes, and needs nothing that they do not have."""
