"""Drafts from what was rejected. Never publishes."""
