"""The command line: one file a command, what they have in common once."""
