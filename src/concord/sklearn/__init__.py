"""concord in scikit-learn: an estimator that trains several small networks together.

Needs torch and scikit-learn only when it is imported: ``import concord`` alone loads neither.
"""

from concord.sklearn.classifier import CollaborativeClassifier

__all__ = ["CollaborativeClassifier"]
