import torch

from trainables.random_streams import generator


def draw(*arguments):
    return torch.rand(4, generator=generator("cpu", *arguments)).tolist()


def test_a_stream_is_a_function_of_seed_purpose_and_position():
    assert draw(0, "noise", 3) == draw(0, "noise", 3)
    streams = [draw(0, "noise", 3), draw(1, "noise", 3), draw(0, "order", 3), draw(0, "noise", 4)]
    assert len(set(map(tuple, streams))) == 4


def test_streams_do_not_touch_torchs_own():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draw(5, "noise")
    assert torch.rand(3).equal(expected)
