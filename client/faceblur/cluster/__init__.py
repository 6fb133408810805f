"""Archives on many machines: shards without a coordinator, or a cluster of Ray."""
