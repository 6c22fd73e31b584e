"""What client and devices say to each other, and how: messages, heartbeats, TLS."""
