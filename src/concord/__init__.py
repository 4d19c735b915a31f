"""Trains small networks that behave like big ensembles and shows exactly what each network costs."""
