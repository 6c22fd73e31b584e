"""What networks answer, and how sure they are of it."""
