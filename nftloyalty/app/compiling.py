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


def compile_all(*, check: bool = False, contracts: Path | None = None, solc: Path | None = None) -> Compiled:
    """Compile and write the artifacts, or with `check` compare them and write nothing.

    `contracts` is another folder than this checkout's, `solc` another compiler than the one that is found. Raises
    BadInput with file and line for a compile error, and says where there is no compiler.
    """
    artifacts = compile_contracts(contracts or find_contracts(), solc)
    if check:
        return Compiled(len(artifacts), tuple(differences(artifacts, ARTIFACTS)), ())
    return Compiled(len(artifacts), (), tuple(write_artifacts(artifacts, ARTIFACTS)))


def verification_input(contracts: Path | None = None) -> str:
    """The standard JSON by which block explorers verify the source: self-contained, no compiler needed to write it."""
    return standard_json(contracts or find_contracts())
