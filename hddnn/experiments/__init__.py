"""What scenario scripts have in common: settings, sweeps, and the paper's numbers."""
