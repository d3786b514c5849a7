"""From part of an organ to whole ones: posterior sampling in the weight space."""
