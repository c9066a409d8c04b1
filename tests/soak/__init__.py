"""Long runs, under attack and under load; pytest collects nothing here."""
