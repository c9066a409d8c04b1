"""Drives the re-bound suites: one process per test class, a verdict for each test."""
