"""Files that lie in object stores and behind other addresses: listed, fetched, committed whole."""
