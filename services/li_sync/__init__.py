"""The program that keeps the LI instance current. It knows nothing of the compiler: a settings file says what is where."""
