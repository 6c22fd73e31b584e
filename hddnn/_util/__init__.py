"""Small things that know nothing of the field: files, hosts, bars, signals, child processes."""
