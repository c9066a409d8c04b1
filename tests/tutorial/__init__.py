"""A tutorial of multiprocessing and concurrent.futures, as tests."""
