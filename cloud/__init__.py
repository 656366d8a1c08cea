"""The cloud: gathers results, has hard images labelled, retrains and releases models."""
