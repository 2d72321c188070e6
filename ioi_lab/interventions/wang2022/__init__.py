"""The experiments of Wang et al. 2022 on a model's own heads: `experiment=wang2022`."""
