from __future__ import annotations

import marey.models


def test_every_public_name_is_there_and_no_other() -> None:
    names = marey.models.__all__
    assert all(hasattr(marey.models, name) for name in names)
    assert len(set(names)) == len(names)
    public = {name for name in vars(marey.models) if not name.startswith("_")}
    modules = {name for name in public if type(vars(marey.models)[name]).__name__ == "module"}
    assert public - modules - {"annotations"} == set(names)
