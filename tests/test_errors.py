"""Every error is an OSError of the right builtin class, with the text of this machine's strerror."""

import errno
import os
import pickle
import sys

import pytest

from ustack import errors


@pytest.mark.skipif(sys.platform != "linux", reason="the texts are glibc's")
@pytest.mark.parametrize("code", sorted(errors._TEXTS))
def test_texts_are_those_of_linux(code: int) -> None:
    assert errors.error_text(code) == os.strerror(code)


@pytest.mark.parametrize("code", sorted(errors._TEXTS))
def test_from_errno_is_what_oserror_itself_would_make(code: int) -> None:
    builtin = type(OSError(code, "x"))
    error = errors.from_errno(code)
    assert isinstance(error, errors.UstackError)
    assert isinstance(error, builtin)
    assert error.errno == code
    assert error.strerror == errors.error_text(code)


def test_a_class_knows_its_code() -> None:
    assert errors.ConnectionRefused().errno == errno.ECONNREFUSED
    assert str(errors.TimedOut()) == "[Errno 110] Connection timed out"
    with pytest.raises(TimeoutError):
        raise errors.TimedOut
    with pytest.raises(BlockingIOError):
        raise errors.WouldBlock


def test_unknown_and_zero() -> None:
    assert errors.from_errno(9999).strerror == "Unknown error 9999"
    with pytest.raises(ValueError, match="no error"):
        errors.from_errno(0)


def test_they_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(errors.ConnectionReset()))
    assert type(error) is errors.ConnectionReset
    assert error.errno == errno.ECONNRESET
