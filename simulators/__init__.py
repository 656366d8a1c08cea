"""Simulated parts, cameras, PLCs, cells and people, so that all of it runs without hardware."""
