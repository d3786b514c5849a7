"""The stages of a run, one module each, with `compute(run, folder)`; `shapegen.pipeline` knows their order."""
