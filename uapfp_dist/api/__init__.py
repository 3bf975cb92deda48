"""The public Python API: functions on plain torch modules and tensors. `uapfp_dist` exports them."""
