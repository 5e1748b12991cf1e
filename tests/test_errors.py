"""Every error is an OSError of the right builtin class, with the text of this machine's strerror."""

import os
import sys

import pytest

from ustack import errors


@pytest.mark.skipif(sys.platform != "linux", reason="the texts are glibc's")
@pytest.mark.parametrize("code", sorted(errors._TEXTS))
def test_texts_are_those_of_linux(code: int) -> None:
    assert errors.error_text(code) == os.strerror(code)


@pytest.mark.parametrize("code", sorted(errors._TEXTS))
def test_from_errno_is_what_oserror_itself_would_make(code: int) -> None:
    error = errors.from_errno(code)
    assert type(error) is type(OSError(code, "x"))
    assert type(error).__module__ == "builtins"
    assert error.errno == code
    assert error.strerror == errors.error_text(code)


def test_unknown_and_zero() -> None:
    assert errors.from_errno(9999).strerror == "Unknown error 9999"
    with pytest.raises(ValueError, match="no error"):
        errors.from_errno(0)
