"""The front door: functions on plain torch modules and tensors. `uapfp_dist` shows them."""
