"""Build checks: which of them count, and what each says.

Source: docs.docker.com/reference/build-checks. The checks themselves: `checks` for the file, `stage_checks` for the
instructions of a stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from buildd.dockerfile.instructions import Finding, Location
from chassis.errors import InvalidArgument
from chassis.switches import switch
from coordinator.dockerfile.errors import shown

MESSAGES: Final = {
    "StageNameCasing": "Stage name '{}' should be lowercase",
    "FromAsCasing": "'{}' and '{}' keywords' casing do not match",
    "NoEmptyContinuation": "Empty continuation line",
    "ConsistentInstructionCasing": "Command '{}' should match the case of the command majority ({})",
    "DuplicateStageName": 'Duplicate stage name "{}", stage names should be unique',
    "ReservedStageName": 'Stage name should not use the same name as reserved stage "{}"',
    "JSONArgsRecommended":
        "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
    "MaintainerDeprecated": "Maintainer instruction is deprecated in favor of using label",
    "UndefinedArgInFrom": "FROM argument '{}' is not declared{}",
    "UndefinedVar": "Usage of undefined variable '${}'{}",
    "WorkdirRelativePath": 'Relative workdir "{}" can have unexpected results if the base image changes',
    "MultipleInstructionsDisallowed":
        "Multiple {} instructions should not be used in the same stage because only the last one will be used",
    "LegacyKeyValueFormat": '"{0} key=value" should be used instead of legacy "{0} key value" format',
    "InvalidBaseImagePlatform":
        'Base image {} was pulled with platform "{}", expected "{}" for current build',
    "RedundantTargetPlatform":
        "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
    "SecretsUsedInArgOrEnv": 'Do not use ARG or ENV instructions for sensitive data ({} "{}")',
    "InvalidDefaultArgInFrom": "Default value for ARG {} results in empty or invalid base image name",
    "FromPlatformFlagConstDisallowed": 'FROM --platform flag should not use constant value "{}"',
    "CopyIgnoredFile": 'Attempting to {} file "{}" that is excluded by .dockerignore',
    "InvalidDefinitionDescription": "Comment for {} should follow the format: `# {} <description>`",
    "ExposeProtoCasing": "Defined protocol '{}' in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat":
        "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
}
_EXPERIMENTAL: Final = frozenset({"CopyIgnoredFile", "InvalidDefinitionDescription"})
"""They count only where they are asked for by name, or all are."""
_ALL: Final = "all"
_MOST: Final = 1000
"""Findings that one file gets; who has as many needs no more."""


@dataclass(frozen=True)
class Options:
    """`# check=skip=A,B;experimental=C;error=true`, or the build argument BUILDKIT_DOCKERFILE_CHECK in its place."""

    skipped: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    is_error: bool = False

    def counts(self, rule: str) -> bool:
        if rule in _EXPERIMENTAL:
            return bool({rule, _ALL} & self.experimental)
        return not {rule, _ALL} & self.skipped


def options(text: str) -> Options:
    """InvalidArgument for an option that is none."""
    names = {"skip": frozenset[str](), "experimental": frozenset[str]()}
    is_error = False
    for part in text.split(";") if text.strip() else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if key in names and equals:
            names[key] = frozenset(word.strip() for word in value.split(","))
        elif key == "error" and (given := switch(value)) is not None:
            is_error = given
        else:
            raise InvalidArgument(f'invalid check option "{shown(part)}"', reason="BAD_DOCKERFILE", field="check",
                                  expected="skip=RULE,…;experimental=RULE,…;error=true")
    return Options(names["skip"], names["experimental"], is_error)


class Report:
    """What was found, as far as it counts."""

    def __init__(self, which: Options) -> None:
        self._options = which
        self._found = dict[Finding, None]()

    def wants(self, rule: str) -> bool:
        return self._options.counts(rule) and not self.is_full

    def add(self, rule: str, location: Location, *facts: str) -> None:
        if self.wants(rule):
            text = MESSAGES[rule].format(*(shown(fact) for fact in facts))
            self._found[Finding(rule, text, location)] = None

    @property
    def is_full(self) -> bool:
        return len(self._found) >= _MOST

    def findings(self) -> tuple[Finding, ...]:
        """By line."""
        return tuple(sorted(self._found, key=lambda finding: (finding.location.first, finding.rule, finding.message)))


def refuse(findings: Iterable[Finding], which: Options) -> None:
    """InvalidArgument (CHECK_FAILED) where findings are errors, and there are some."""
    names = sorted({finding.rule for finding in findings})
    if which.is_error and names:
        raise InvalidArgument(f"lint violation found for rules: {', '.join(names)}", reason="CHECK_FAILED",
                              field="check")
