"""Settings nested beyond all measure are refused like any other nonsense."""

from pathlib import Path

import pytest

from lockstep.node.config import SETTINGS_FILE, WrongSetting, load_config


@pytest.mark.parametrize("text", ["peers = " + "[" * 100_000, "peers" + ".a" * 2_000 + " = 1"])
def test_deep_nesting_is_a_wrong_setting(text: str, tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(text)
    with pytest.raises(WrongSetting):
        load_config(tmp_path, environment={}, flags={})
