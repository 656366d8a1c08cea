"""The edge agent: sees each part, answers the PLC, learns what it does not know."""
