"""Shapes as they are asked for: attributes by name, guided through the INR of any generator. Imports nothing heavy."""
