"""The roles of attention heads in the IOI circuit: `intervention=head_roles`."""
