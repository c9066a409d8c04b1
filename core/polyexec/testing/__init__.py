"""The conformance kit: what every context promises, as tests that need no code of yours.

    pytest -p polyexec.testing.plugin --pyargs polyexec.testing --backend NAME

A test asks for capabilities, never for a backend's name; what a backend lacks is skipped, and the
report at the end says what it has, lacks and breaks. Waits are as long as the backend's own round
trip calls for; `--patience SECONDS` sets them.
"""
