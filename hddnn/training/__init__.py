"""Train the networks and make bundles of them (needs the extra `torch`)."""
