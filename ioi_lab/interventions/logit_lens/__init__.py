"""The residual stream, read with the logit lens or another lens: `intervention=logit_lens`."""
