"""A folder or a store that is watched: what arrives is masked, until somebody ends it."""
