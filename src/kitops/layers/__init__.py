"""Files and one layer of a ModelKit: what is taken, how it becomes bytes, and how the bytes become files again."""
