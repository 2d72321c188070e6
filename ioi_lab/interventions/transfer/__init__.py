"""Vectors and heads of one model in another: `intervention=transfer`."""
