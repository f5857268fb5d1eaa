"""Who changed what, as people look it up. Reads only; changes write their own lines."""
