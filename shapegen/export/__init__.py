"""Handing a run's shapes over to other programs: meshes, label maps, INRs that need no shapegen."""
