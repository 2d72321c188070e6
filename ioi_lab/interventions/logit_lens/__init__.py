"""The logit lens and the tuned lens: `intervention=logit_lens`."""
