"""What both sides must agree on: messages, topics, recipes, bundles, snapshots (pydantic only)."""
