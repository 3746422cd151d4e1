"""clusterctl: what an operator inspects and steers the fleet with."""
