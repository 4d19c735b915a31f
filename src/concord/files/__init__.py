"""How anything reaches the disk whole and is read back with distrust."""
