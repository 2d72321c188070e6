"""Activation steering: `intervention=steer`."""
