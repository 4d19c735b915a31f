"""From data and limits to a folder with the best network under them, which is used without concord."""
