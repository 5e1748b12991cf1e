"""Puts the source's docstrings into the C files that mypyc writes.

mypyc writes the signature of each function and class, ``PyDoc_STR("wrap(n)\\n--\\n\\n")``, and leaves the docstring
out, so ``help()`` would be bare in the compiled build. Here the text is added behind the signature, before the C
compiler runs: it is constant data, read by ``help()`` alone. A string below an attribute becomes the attribute's. A
class that mypyc makes as Python would, such as an enum, gets its docstring when the module has run.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

_UNKNOWN = re.compile(r'(\{"(\w+)",\s*\(PyCFunction\)\w+,\s*[\w |]+,\s*PyDoc_STR\()NULL\)')
"""A row of a function with a default that mypyc cannot write down."""
_LATE = """\
    {{
        PyObject *type = PyDict_GetItemString({globals}, "{name}"), *text = PyUnicode_FromString("{doc}");
        if (type == NULL || text == NULL || PyObject_SetAttrString(type, "__doc__", text) < 0)
            PyErr_Clear();
        Py_XDECREF(text);
    }}
"""
_END = re.compile(r"^char CPyDef_(\w+?)_____top_level__\(void\) \{.*?^(?=    return 1;\n)", re.DOTALL | re.MULTILINE)
_TEXT = r'PyDoc_STR\("(?:[^"\\]|\\.)*'
_FUNCTION = re.compile(rf'(\{{"(\w+)",\s*\(PyCFunction\)\w+,\s*[\w |]+,\s*{_TEXT})("\))')
"""A row of a table of functions or methods: all before the closing quote, its name, the rest."""
_ATTRIBUTE = re.compile(r'(\{"(\w+)",\s*\(getter\)\w+,\s*(?:\(setter\)\w+|NULL),\s*)NULL(,\s*NULL\},)')
_CLASS = re.compile(r'_template_ = \{\s*(?:PyVarObject_HEAD_INIT[^\n]*\s*)?\.tp_name = "(\w+)",.*?\n\};', re.DOTALL)
_CLASS_DOC = re.compile(rf'(\.tp_doc = {_TEXT})("\))')
_TABLE = r"static Py\w+ {}\[\] = \{{.*?\n\}};"
_MODULE_DOC = "NULL, /* docstring */"


def keep_docstrings(sources: list[Path], root: Path, generated: Path) -> None:
    """Rewrites in ``generated`` what mypyc made of ``sources``, files below ``root``."""
    for source in sources:
        module = ".".join(source.relative_to(root).with_suffix("").parts)
        target = generated / f"__native_{module.replace('.', '___')}.c"
        target.write_text(document(target.read_text(), ast.parse(source.read_text())))


def document(text: str, tree: ast.Module) -> str:
    """The C text of one module with the docstrings of ``tree``."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    text = _UNKNOWN.sub(lambda row: f'{row[1]}"{_signature(functions[row[2]])}")', text)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for template in list(_CLASS.finditer(text)):
        if template[1] in classes:
            text = _document_class(text, template[0], classes.pop(template[1]))
    late = {name: doc for name, node in classes.items() if (doc := ast.get_docstring(node))}
    text = _END.sub(lambda end: end[0] + _set_late(f"CPyStatic_{end[1]}___globals", late), text)
    text = _in_table(text, r"\w*module_methods", _adds(_functions(tree)), _FUNCTION)
    doc = ast.get_docstring(tree)
    return text.replace(_MODULE_DOC, f'PyDoc_STR("{_escaped(doc)}"), /* docstring */', 1) if doc else text


def _document_class(text: str, template: str, node: ast.ClassDef) -> str:
    """``template`` is the class's own PyTypeObject, which names its tables."""
    tables = dict(re.findall(r"\.tp_(methods|getset) = (\w+),", template))
    methods = _functions(node)
    if "methods" in tables:
        text = _in_table(text, tables["methods"], _adds(methods), _FUNCTION)
    if "getset" in tables:
        text = _in_table(text, tables["getset"], _replaces_null({**dict(_attributes(node)), **methods}), _ATTRIBUTE)
    doc = _escaped(ast.get_docstring(node) or "")
    start = next(
        (_signature(item) for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), ""
    )
    start = start.replace("__init__($self, ", f"{node.name}(", 1)
    known = template.replace(".tp_doc = PyDoc_STR(NULL)", f'.tp_doc = PyDoc_STR("{start}")')
    return text.replace(template, _CLASS_DOC.sub(lambda found: found[1] + doc + found[2], known))


def _set_late(names: str, docs: dict[str, str]) -> str:
    return "".join(_LATE.format(globals=names, name=name, doc=_escaped(doc)) for name, doc in docs.items())


def _signature(node: ast.FunctionDef) -> str:
    """As mypyc writes it, with ``...`` for defaults: inspect takes it, and shows that there is one."""
    defaults = len(node.args.defaults)
    names = ["$self" if one.arg == "self" else one.arg for one in node.args.args]
    known = names[: len(names) - defaults] + [f"{name}=..." for name in names[len(names) - defaults :]]
    return rf"{node.name}({', '.join(known)})\n--\n\n"


Rewrite = Callable[["re.Match[str]"], str]


def _in_table(text: str, name: str, rewrite: Rewrite, row: re.Pattern[str]) -> str:
    return re.sub(_TABLE.format(name), lambda table: row.sub(rewrite, table[0]), text, count=1, flags=re.DOTALL)


def _adds(docs: dict[str, str]) -> Rewrite:
    return lambda row: row[1] + _escaped(docs.get(row[2], "")) + row[3]


def _replaces_null(docs: dict[str, str]) -> Rewrite:
    return lambda row: f'{row[1]}PyDoc_STR("{_escaped(docs[row[2]])}"){row[3]}' if row[2] in docs else row[0]


def _functions(node: ast.Module | ast.ClassDef) -> dict[str, str]:
    """The docstrings of a body's functions; of a property, its getter's."""
    found: dict[str, str] = {}
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(item.name, ast.get_docstring(item) or "")
    return {name: doc for name, doc in found.items() if doc}


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Strings that stand below an attribute, in the class or in ``__init__``."""
    bodies = [node.body]
    bodies += [item.body for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    for line, below in (pair for body in bodies for pair in pairwise(body)):
        if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            name = line.target.attr if isinstance(line.target, ast.Attribute) else getattr(line.target, "id", "")
            yield name, inspect.cleandoc(str(below.value.value))


def _escaped(text: str) -> str:
    """The inside of a C string literal, in UTF-8."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in text.encode())
