"""Who still sends an event type. Reads only."""
