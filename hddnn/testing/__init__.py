"""Contract suites for classes of your own: what hddnn's own schemes, policies, runtimes and engines have to pass.

Each is a function that raises AssertionError with what is wrong; call it from a test of your own.
"""
