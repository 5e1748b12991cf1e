"""The C core as cffi makes it: types end here; ustack.native is the only importer."""

from typing import Any

ffi: Any
lib: Any
