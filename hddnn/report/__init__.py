"""The report: cubes of scenarios and runs as one page, the paper's numbers beside ours."""
