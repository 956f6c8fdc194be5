"""What turns a recovery key into ciphertext for the authority: the envelope, and the Synapse module that seals it."""
