"""The logit lens and its relatives: `intervention=logit_lens`."""
