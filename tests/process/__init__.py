"""What only the process contexts do."""
