"""Clips stay on the device between episodes, as bytes, and the oldest make room."""

from dataclasses import dataclass

import numpy as np
import torch

from baselines.common.resident import Resident


@dataclass
class Shelf:
    """Clips by number: each (1, 2, 4, 4, 3) of that number, 96 bytes. Counts how often frames are asked for."""

    numbers: tuple[int, ...]
    asked: int = 0

    @property
    def frame_keys(self):
        return [str(number) for number in self.numbers]

    def frames(self):
        self.asked += 1
        return [np.full((1, 2, 4, 4, 3), number, dtype=np.uint8) for number in self.numbers]


def test_clips_are_read_once_and_come_in_the_order_asked_for():
    resident, shelf = Resident("cpu"), Shelf((1, 2, 3))
    found = resident(shelf)
    assert [clip.shape for clip in found] == [(1, 2, 4, 4, 3)] * 3
    assert [clip.dtype for clip in found] == [torch.uint8] * 3
    again = Shelf((3, 1))
    assert [int(clip.max()) for clip in resident(again)] == [3, 1]
    assert again.asked == 0


def test_what_does_not_fit_is_dropped_oldest_first_and_given_all_the_same():
    resident = Resident("cpu", most_bytes=2 * 96)
    assert [int(clip.max()) for clip in resident(Shelf((1, 2, 3, 4)))] == [1, 2, 3, 4]
    kept, dropped = Shelf((3, 4)), Shelf((1,))
    resident(kept)
    resident(dropped)
    assert (kept.asked, dropped.asked) == (0, 1)


def test_a_change_of_a_clip_on_the_device_does_not_reach_the_store():
    stored = np.zeros((1, 2, 4, 4, 3), dtype=np.uint8)

    class Store:
        frame_keys = ("one",)

        def frames(self):
            return [stored]

    Resident("cpu")(Store())[0].add_(1)
    assert stored.max() == 0
