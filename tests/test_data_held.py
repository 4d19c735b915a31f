"""Samples that are decoded once while there is room for them."""

import pickle

import torch

from concord.data.held import Held


class Count:
    def __init__(self):
        self.asked = []

    def __call__(self, i):
        self.asked.append(i)
        return torch.full((10,), i, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)


def test_a_sample_is_decoded_once():
    decode = Count()
    held = Held(decode)
    assert held[3] is held[3]
    assert held[3][0].tolist() == [3] * 10
    assert decode.asked == [3]


def test_what_finds_no_room_is_decoded_every_time():
    decode = Count()
    held = Held(decode, most=110)  # two samples of 50 bytes
    for i in (0, 1, 2, 2, 0, 1):
        assert held[i][0][0] == i
    assert decode.asked == [0, 1, 2, 2]


def test_another_process_decodes_for_itself():
    held = Held(Count(), most=1000)
    sample = held[0]
    again = pickle.loads(pickle.dumps(held))
    assert again[0][0].tolist() == sample[0].tolist()
    assert again._decode.asked == [0, 0]  # the count came along, the samples did not
