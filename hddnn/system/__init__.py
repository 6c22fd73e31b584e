"""What there is: devices, links and trust as a topology file tells them, and faults."""
