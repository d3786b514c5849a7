"""Diffusion in a latent space: noise processes, training, samplers, and what is generated. Imports nothing heavy."""
