from __future__ import annotations

import marey.data


def test_every_public_name_is_there_and_no_other() -> None:
    names = marey.data.__all__
    assert all(hasattr(marey.data, name) for name in names)
    assert len(set(names)) == len(names)
    public = {
        name for name, value in vars(marey.data).items() if not name.startswith("_") and not hasattr(value, "__path__")
    }
    modules = {name for name in public if type(vars(marey.data)[name]).__name__ == "module"}
    assert public - modules == set(names)
