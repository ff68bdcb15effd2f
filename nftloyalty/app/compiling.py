"""The compiled contracts: written anew, compared with what is there, and told to block explorers."""

from dataclasses import dataclass
from pathlib import Path

from nftloyalty.chain.compile import (
    ARTIFACTS,
    compile_contracts,
    differences,
    find_contracts,
    standard_json,
    write_artifacts,
)


@dataclass(frozen=True)
class Compiled:
    """`differing` names what is not as compiled (only looked for when checking), `written` the files that changed."""

    count: int
    differing: tuple[str, ...]
    written: tuple[Path, ...]


def compile_all(*, check: bool = False) -> Compiled:
    """Compile and write the artifacts, or with `check` compare them and write nothing.

    Raises BadInput with file and line for a compile error, and says where there is no compiler.
    """
    artifacts = compile_contracts(find_contracts())
    if check:
        return Compiled(len(artifacts), tuple(differences(artifacts, ARTIFACTS)), ())
    return Compiled(len(artifacts), (), tuple(write_artifacts(artifacts, ARTIFACTS)))


def verification_input() -> str:
    """The standard JSON by which block explorers verify the source: self-contained, no compiler needed to write it."""
    return standard_json(find_contracts())
