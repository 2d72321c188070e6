"""Direct logit attribution: `intervention=logit_attribution`."""
