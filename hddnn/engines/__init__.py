"""What executes a plan: the paper's equations, a simulation, or real workers; all return the same record."""
