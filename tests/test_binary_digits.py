"""A binary network that learns something: scikit-learn's digits."""

import torch
from binary_made import digits_network, latent
from sklearn.datasets import load_digits

import concord
from concord.training.optim import Adam


def test_an_xnor_network_reads_the_digits():

    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x).float().view(-1, 1, 8, 8) / 16, torch.tensor(y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        order, network = torch.randperm(len(x)), digits_network()
    learn, test = order[:1400], order[1400:]
    ensemble = concord.Ensemble({"xnor": network})
    ensemble.fit((x[learn], y[learn]), epochs=12, batch_size=32, optimizer=Adam(lr=2e-3), schedule="cosine")
    assert ensemble.evaluate((x[test], y[test])).members["xnor"].error <= 0.04
    assert all(weight.abs().max() <= 1 for weight in latent(network))
