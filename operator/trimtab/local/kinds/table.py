"""Which rules hold for which built-in kind."""

from trimtab.local.kinds.rules import RuleTable

RULES: RuleTable = {}
