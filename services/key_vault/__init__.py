"""The key vault: recovery keys as ciphertext, the cases under which they are released, and the log of all that was done."""
