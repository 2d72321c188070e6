"""What the unedited model shows: logit lens, attention patterns, direct logit attribution, scores of heads."""
