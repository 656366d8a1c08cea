"""What edge and cloud share: the contract, the detector and its training."""
