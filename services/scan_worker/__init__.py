"""The scan worker: an HTTP service that has files scanned by clamd and by ICAP servers. It knows nothing of the compiler or of Synapse."""
