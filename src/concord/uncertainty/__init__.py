"""How sure a classifier may be: temperature scaling, sets of labels, scores of unfamiliar samples."""
