"""How good a shape is: the probability that an expert would accept it, with reasons."""
