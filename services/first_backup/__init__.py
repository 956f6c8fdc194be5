"""The program that takes the first base backup of a database, without which its archived write-ahead log is of no use."""
