"""The program that makes buckets, users and their rights on MinIO. It knows nothing of the compiler: a request file says what to make."""
