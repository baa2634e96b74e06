"""What is imported late does what it does, in processes that tests start."""

import subprocess
import sys

CODE = """
import sys
import jsonschema
import kubernetes.aio
assert "lark" not in sys.modules, "nothing is compiled yet"
check = jsonschema.Draft202012Validator({"format": "iri"}, format_checker=jsonschema.FormatChecker())
assert check.is_valid("https://example.org/\u00e4")
assert not check.is_valid("no scheme")
assert "lark" in sys.modules, "it is the package that says so"
"""


def test_a_grammar_is_compiled_when_it_is_needed():
    """A schema's formats are checked by the package itself; a client of Kubernetes that checks none starts without."""
    subprocess.run([sys.executable, "-c", CODE], check=True)
