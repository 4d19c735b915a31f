"""Ensembles in one network, made of any network: batch ensembles and packed ensembles."""
