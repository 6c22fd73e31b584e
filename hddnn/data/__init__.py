"""Data sets, label hierarchies and images: what is classified."""
