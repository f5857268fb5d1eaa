"""A retail chain that never was: who is there, what they do, how tills and apps tell it."""
