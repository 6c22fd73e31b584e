"""From a topology and a scheme to a plan: costs, the paper's equations, and bounds."""
