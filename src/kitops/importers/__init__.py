"""Where models live today, and how they come from there: each source as a tree of files with an origin."""
