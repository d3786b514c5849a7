"""A reader study: people look at real and synthetic shapes, blinded, and say which is which."""
