from __future__ import annotations

import marey.encoders


def test_every_public_name_is_there_and_no_other() -> None:
    names = marey.encoders.__all__
    assert all(hasattr(marey.encoders, name) for name in names)
    assert len(set(names)) == len(names)
    public = {name for name in vars(marey.encoders) if not name.startswith("_")}
    modules = {name for name in public if type(vars(marey.encoders)[name]).__name__ == "module"}
    assert public - modules - {"annotations"} == set(names)
