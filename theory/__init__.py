"""DIET's theory as checks that run: spectral equivalence, which feature is learnt first, and
identifiability.
"""
