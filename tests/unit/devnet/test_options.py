"""Options of the devnet that contradict each other."""

import pytest

from lockstep.devnet.options import (
    DevnetOptions,
    WrongOptions,
    check_options,
    parse_weights,
)


@pytest.mark.parametrize(
    "options",
    [
        DevnetOptions(nodes=3),
        DevnetOptions(nodes=5, weights=(1, 2, 3, 4)),
        DevnetOptions(seconds=5),
        DevnetOptions(stop_nodes=2),
        DevnetOptions(stop_nodes=4, seconds=30),
        DevnetOptions(stop_nodes=1, kill_every_s=5, seconds=30),
        DevnetOptions(double_spend=3),
    ],
)
def test_contradicting_options_are_refused(options: DevnetOptions) -> None:
    with pytest.raises(WrongOptions):
        check_options(options)


@pytest.mark.parametrize("text", ["", "1,,2", "1,0,2,3", "1,-2", "a", "1.5,2,3,4", "²,1,1,1"])
def test_weights_that_are_none(text: str) -> None:
    with pytest.raises(WrongOptions):
        parse_weights(text)
    assert parse_weights("4, 3,2,2") == (4, 3, 2, 2)
