"""Images changed a little so that a network answers wrongly: FGSM, PGD, and how far such images transfer."""
