"""What a job gave: records, transfers, journals, cubes, tables and figures."""
