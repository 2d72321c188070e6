"""Reading a model without editing it: logit lens, attention patterns, direct logit attribution, scores of heads."""
