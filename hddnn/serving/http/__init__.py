"""Classify images over HTTP: coarse answers at once, fine ones as they come (needs the extra `serve`)."""
