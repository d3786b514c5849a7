"""Several organs of one patient in one frame: how they go together is learned from patients that several runs share."""
