"""Surface detail: what a point of the weight space smooths away, measured on training shapes and drawn for samples."""
