"""Event types, drafts and versions as people run them. Never judges an event."""
