"""The client's side: who is there, what is sent, and what comes back."""
