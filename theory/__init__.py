"""DIET's theory as checks that run: spectral equivalence, the feature learnt, identifiability."""
