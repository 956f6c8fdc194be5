"""The program that makes the platform's secrets. It knows nothing of the compiler: a request file tells it what to make."""
